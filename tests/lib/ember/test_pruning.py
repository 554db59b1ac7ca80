"""Pruning in a real storage server: what goes, what stays, and what an ended pruning leaves."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox import example
from tasks.lib.ember import activation, overview, pruning, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.place import Place, opened
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.errors import Failure, UsageError
from tests.builders import checked_in_settings
from tests.lib.ember import stored

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
# Files of the example without a fingerprint.
OWN = 4
NOTHING = "Objects removed that no revision needs: 0."


@pytest.fixture
def place(access: Access) -> Iterator[Place]:
    with opened(access, EMBER, PREFIX) as made:
        yield made


def uploaded(access: Access, folder: Path, version: str, options: Options | None = None) -> str:
    source = example.write(folder / version, version)
    return upload_to(access, EMBER, str(source), PREFIX, options or Options()).revision


def pruned(place: Place, keep: int = 0, days: float = 0) -> list[str]:
    return pruning.prune(place, keep, days, dry_run=False)


def expect_rolled_back_to(access: Access, place: Place, version: str) -> None:
    overview.roll_back(place)
    assert example.files(version).items() <= stored.contents(access, f"{PREFIX}/").items()


def own_files(access: Access, version: str) -> set[str]:
    """The fingerprinted files of a version that no other one has."""
    others = {path for one in "123" if one != version for path in example.files(one)}
    return {path for path in example.files(version) if path not in others}


def test_pruning_shows_then_removes(access: Access, place: Place, tmp_path: Path) -> None:
    one, two, three = (uploaded(access, tmp_path, version) for version in "123")
    own = own_files(access, "1")
    assert own <= stored.blobs(access, f"{PREFIX}/").keys()
    count = len(own) + OWN
    assert pruning.prune(place, 0, 0, dry_run=True) == [
        f"{one} would be removed.", f"Objects that no other revision needs: {count}.",
    ]  # fmt: skip
    assert pruned(place, days=30) == [NOTHING]
    assert pruned(place) == [f"{one} is removed.", f"Objects removed that no revision needs: {count}."]
    left = stored.blobs(access, f"{PREFIX}/")
    assert not own & left.keys()
    assert not any(one in path or "pruning-" in path for path in left)
    assert set(revisions.listed(place).revisions) == {two, three}
    expect_rolled_back_to(access, place, "2")


@pytest.mark.parametrize(("keep", "days"), [(-1, 0), (0, -1), (0, 10**9), (0, 10**12)])
def test_numbers_that_make_no_sense_are_bad_usage(place: Place, keep: int, days: int) -> None:
    with pytest.raises(UsageError):
        pruned(place, keep, days)


def test_pruning_without_revisions_fails(access: Access, place: Place) -> None:
    stored.put(access, f"{PREFIX}/assets/app-{'0' * 32}.js", b"of a prefix that was mistyped")
    before = stored.contents(access, f"{PREFIX}/")
    with pytest.raises(Failure, match="Nothing was pruned") as caught:
        pruned(place)
    assert caught.value.why == "There is no revision."
    assert stored.contents(access, f"{PREFIX}/") == before


STORED = Options(activate=False)


def test_revisions_that_were_never_activated_are_pruned_too(
    access: Access, place: Place, tmp_path: Path
) -> None:
    one, two, three = (uploaded(access, tmp_path, version, STORED) for version in "123")
    orphan = f"{PREFIX}/assets/app-{'0' * 32}.js"
    stored.put(access, orphan, b"of somebody who is about to write a page")
    assert pruned(place, keep=2) == [
        f"{one} is removed.",
        f"Objects removed that no revision needs: {len(own_files(access, '1')) + OWN}.",
    ]
    left = stored.blobs(access, f"{PREFIX}/")
    assert not any(one in path or "pruning-" in path for path in left)
    assert own_files(access, "2") | own_files(access, "3") <= left.keys()
    assert stored.bucket(access).blob(orphan).exists()
    assert pruned(place, keep=9) == [NOTHING]
    assert pruned(place)[:2] == [f"{two} is removed.", f"{three} is removed."]
    assert list(stored.blobs(access, f"{PREFIX}/")) == [orphan.removeprefix(f"{PREFIX}/")]


def test_page_of_another_program_keeps_all_fingerprinted_files(
    access: Access, place: Place, tmp_path: Path
) -> None:
    name = uploaded(access, tmp_path, "1", STORED)
    stored.put(access, f"{PREFIX}/index.html", b"<p>in place", "text/html")
    assert pruned(place) == [f"{name} is removed.", f"Objects removed that no revision needs: {OWN}."]
    left = stored.contents(access, f"{PREFIX}/")
    assert left.pop("index.html") == b"<p>in place"
    assert left.keys() == {path for path in example.files("1") if path.startswith("assets/")}


def test_first_activation_keeps_the_upload_date(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1", STORED)
    before = revisions.listed(place).revisions[name]
    overview.activate_chosen(place, name)
    after = revisions.listed(place).revisions[name]
    assert after.generation != before.generation
    assert after.created == before.created
    stored.remove(access, f"{PREFIX}/index.html")
    assert pruned(place) == [NOTHING]  # its activation may be under way


def test_missing_active_manifest_stops_pruning(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    stored.remove(access, f"{PREFIX}/revisions/{name}.json")
    with pytest.raises(Failure, match="Nothing was pruned") as caught:
        pruned(place)
    assert caught.value.why == f"Revision {name} is active, and {PREFIX}/revisions/{name}.json is missing."
    assert example.files("1").keys() <= stored.blobs(access, f"{PREFIX}/").keys()


def test_leftovers_of_an_ended_upload_go_after_a_day(
    access: Access, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = uploaded(access, tmp_path, "1", Options(activate=False))
    stored.remove(access, f"{PREFIX}/revisions/{name}/robots.txt")
    uploaded(access, tmp_path, "2")
    assert pruned(place) == [NOTHING]
    monkeypatch.setattr(pruning, "LEAST_AGE", timedelta(0))
    assert pruned(place)[0] == f"{name} is removed."
    assert not own_files(access, "1") & stored.blobs(access, f"{PREFIX}/").keys()


class KilledError(Exception):
    """The pruning was killed."""


@pytest.fixture
def ended_pruning(
    access: Access, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str, str]:
    """Three revisions, after a pruning of the first that was killed when all was announced."""
    names = tuple(uploaded(access, tmp_path, version) for version in "123")

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(pruning, "_looked_again", killed)
        with pytest.raises(KilledError):
            pruned(place)
    return names[0], names[1], names[2]


def test_pruning_goes_on_where_another_was_killed(
    access: Access, place: Place, ended_pruning: tuple[str, str, str]
) -> None:
    one, two, three = ended_pruning
    assert own_files(access, "1") <= stored.blobs(access, f"{PREFIX}/").keys()
    assert pruned(place, 9, 30) == [
        f"Objects removed that no revision needs: {len(own_files(access, '1')) + OWN}."
    ]
    left = stored.blobs(access, f"{PREFIX}/")
    assert not own_files(access, "1") & left.keys()
    assert not any(one in path or "pruning-" in path for path in left)
    assert set(revisions.listed(place).revisions) == {two, three}
    assert pruned(place, 9, 30) == [NOTHING]


def test_upload_renews_files_that_a_pruning_will_remove(
    access: Access, place: Place, tmp_path: Path, ended_pruning: tuple[str, str, str]
) -> None:
    def generations() -> set[tuple[str, int]]:
        found = stored.blobs(access, f"{PREFIX}/")
        return {(path, blob.generation) for path, blob in found.items() if path in own_files(access, "1")}

    before = generations()
    assert uploaded(access, tmp_path, "1") == ended_pruning[0]
    assert not before & generations()
    assert {path for path, _ in generations()} == own_files(access, "1")
    assert pruned(place, 9, 30) == [NOTHING]
    assert not revisions.listed(place).prunings


def test_activation_renews_files_that_a_pruning_will_remove(
    access: Access, place: Place, tmp_path: Path, ended_pruning: tuple[str, str, str]
) -> None:
    name = uploaded(access, tmp_path, "1", Options(activate=False))
    [item] = revisions.listed(place).prunings
    blob = stored.blobs(access, f"{PREFIX}/")[own_files(access, "1").pop()]
    stored.put(access, item.name, f'[["{blob.name}",{blob.generation}]]'.encode())
    overview.activate_chosen(place, name)
    assert stored.bucket(access).get_blob(blob.name).generation != blob.generation


def test_activating_during_pruning_restores_the_manifest(
    access: Access, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = (uploaded(access, tmp_path, version) for version in "123")
    # The answer that activates it comes once its manifest is gone; the activation had read it before.
    page, found = activation.served(place), activation.complete(place, one)
    announce = pruning._announced

    def late(*arguments: object) -> object:
        activation.activate(place, one, [one, *page.history], page, found)
        return announce(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pruning, "_announced", late)
    assert pruned(place)[0] == f"{one} stays: it was needed meanwhile."
    assert one in revisions.listed(place).revisions
    assert example.files("1").items() <= stored.contents(access, f"{PREFIX}/").items()
    assert two in revisions.listed(place).revisions


def test_the_page_is_renewed_and_otherwise_as_it_was(access: Access, place: Place, tmp_path: Path) -> None:
    for version in "123":
        uploaded(access, tmp_path, version)
    before = stored.blobs(access, f"{PREFIX}/")["index.html"]
    pruned(place)
    after = stored.blobs(access, f"{PREFIX}/")["index.html"]
    assert after.generation != before.generation
    for what in ("metadata", "crc32c", "content_type", "cache_control"):
        assert getattr(after, what) == getattr(before, what)


def test_objects_of_other_programs_stay(access: Access, place: Place, tmp_path: Path) -> None:
    for version in "12":
        uploaded(access, tmp_path, version)
    others = [
        f"{PREFIX}/revisions/readme.txt", f"{PREFIX}/revisions/notes.json", f"{PREFIX}/revisions/p/a.png",
        f"{PREFIX}/notes.txt", f"{PREFIX}/sub/index.html", f"{PREFIX}/sub/app-{'0' * 32}.js",
    ]  # fmt: skip
    for name in others:
        stored.put(access, name, b"x")
    assert pruned(place) == [NOTHING]
    assert all(stored.bucket(access).blob(name).exists() for name in others)


def test_a_fingerprinted_file_that_no_revision_lists_goes(
    access: Access, place: Place, tmp_path: Path
) -> None:
    uploaded(access, tmp_path, "1")
    orphan = f"{PREFIX}/assets/app-{'0' * 32}.js"
    stored.put(access, orphan, b"x")
    assert pruned(place, 9, 30) == ["Objects removed that no revision needs: 1."]
    assert not stored.bucket(access).blob(orphan).exists()
