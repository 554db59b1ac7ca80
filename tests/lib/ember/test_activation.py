"""Activation and rolling back, adoption of what others wrote, in a real storage server."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sandbox import example
from tasks.lib.ember import activation, overview, pruning, report, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.place import Place, opened
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.verification import verify
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.ember import stored

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
CORS = EMBER.bucket.cors


@pytest.fixture
def place(access: Access) -> Iterator[Place]:
    with opened(access, EMBER, PREFIX) as made:
        yield made


def uploaded(access: Access, folder: Path, version: str, options: Options | None = None) -> str:
    """The revision of the example app in this version, which is in the bucket now."""
    source = example.write(folder / version, version)
    return upload_to(access, EMBER, str(source), PREFIX, options or Options()).revision


def visited(access: Access) -> dict[str, bytes]:
    """What visitors find, but for what only other revisions need."""
    found = stored.contents(access, f"{PREFIX}/")
    return {path: data for path, data in found.items() if not path.startswith("revisions/")}


def expect_served(access: Access, version: str) -> None:
    """Visitors find every file of this version."""
    assert example.files(version).items() <= visited(access).items()


def test_activating_and_rolling_back_change_what_visitors_find(
    access: Access, place: Place, tmp_path: Path
) -> None:
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    expect_served(access, "2")
    assert overview.activate_chosen(place, one[:6]) == f"Revision {one} is active. Before: {two}."
    expect_served(access, "1")
    assert overview.activate_chosen(place, one) == f"Revision {one} is active already."
    assert overview.roll_back(place) == f"Revision {two} is active again. Before: {one}."
    expect_served(access, "2")


def test_rolling_back_goes_further_each_time(access: Access, place: Place, tmp_path: Path) -> None:
    for version in "123":
        uploaded(access, tmp_path, version)
    for expected in "21":
        overview.roll_back(place)
        expect_served(access, expected)
    with pytest.raises(Failure, match="There is no revision to go back to"):
        overview.roll_back(place)


def test_an_upload_can_wait_to_be_activated(access: Access, place: Place, tmp_path: Path) -> None:
    uploaded(access, tmp_path, "1")
    second = uploaded(access, tmp_path, "2", Options(activate=False))
    expect_served(access, "1")
    overview.activate_chosen(place, second)
    expect_served(access, "2")


def test_loser_of_two_activations_learns_the_winner(access: Access, place: Place, tmp_path: Path) -> None:
    versions = {uploaded(access, tmp_path, version, Options(activate=False)): version for version in "12"}
    outcomes: dict[str, str] = {}
    barrier = threading.Barrier(2)

    def activate(name: str) -> None:
        with opened(access, EMBER, PREFIX) as own:
            page = activation.served(own)
            barrier.wait()
            try:
                activation.activate(own, name, [name], page)
                outcomes[name] = "won"
            except Failure as failure:
                outcomes[name] = failure.why

    threads = [threading.Thread(target=activate, args=(name,)) for name in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = activation.served(place).name
    assert outcomes.pop(winner) == "won"
    assert list(outcomes.values()) == [f"{winner} is active now."]
    expect_served(access, versions[winner])


def test_a_revision_with_a_file_missing_is_not_activated(
    access: Access, place: Place, tmp_path: Path
) -> None:
    one = uploaded(access, tmp_path, "1")
    uploaded(access, tmp_path, "2")
    lost = f"{PREFIX}/revisions/{one}/robots.txt"
    stored.remove(access, lost)
    with pytest.raises(Failure, match=f"Revision {one} is not complete") as caught:
        overview.activate_chosen(place, one)
    assert caught.value.why == f"- {lost} is missing or differs."
    expect_served(access, "2")
    assert overview.overview(place).incomplete == {one}


def test_upload_repairs_a_changed_file_beside_the_page(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    stored.put(access, f"{PREFIX}/robots.txt", b"changed")
    with pytest.raises(Failure, match="is not as it should be"):
        verify(place, "", CORS)
    assert overview.activate_chosen(place, name) == f"Revision {name} is active. Before: {name}."
    expect_served(access, "1")
    stored.put(access, f"{PREFIX}/robots.txt", b"changed")
    assert uploaded(access, tmp_path, "1") == name
    expect_served(access, "1")


def test_leftovers_of_a_killed_activation_are_named_and_repaired(
    access: Access, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uploaded(access, tmp_path, "1")
    name, left = uploaded(access, tmp_path, "2"), f"{PREFIX}/robots.txt"
    second = Options(activate=False)
    ways: list[Callable[[], list[str]]] = [
        lambda: upload_to(access, EMBER, str(example.write(tmp_path / "3", "3")), PREFIX, second).put_back,
        lambda: upload_to(access, EMBER, str(example.write(tmp_path / "2", "2")), PREFIX).put_back,
        lambda: [line.split()[0] for line in pruning.prune(place, 9, 9, dry_run=False)][:1],
    ]
    for ends in ways:
        stored.put(access, left, b"of revision 1")
        with pytest.raises(Failure, match="is not as it should be") as caught:
            verify(place, "", CORS)
        assert (
            f"- {left}: it is not the active revision's: an activation was interrupted, or somebody wrote it."
            in caught.value.why
        )
        report.revisions(overview.overview(place), json=False)
        told = capsys.readouterr().err.splitlines()
        assert told[-2:] == [
            f"{left} is not the active revision's: an activation was interrupted, or somebody wrote it.",
            f"Put back what belongs there: `./inv ember.activate {name}`.",
        ]
        assert ends() == [left]
        expect_served(access, "2")
        assert verify(place, "", CORS).endswith("served as it should be.")


@pytest.mark.parametrize("again", ["uploaded", "activated"])
def test_other_headers_of_the_page_are_corrected(
    access: Access, place: Place, tmp_path: Path, again: str
) -> None:
    name = uploaded(access, tmp_path, "1")
    changed = stored.blobs(access, f"{PREFIX}/")["index.html"]
    changed.cache_control = "public, max-age=3600"
    changed.patch()
    with pytest.raises(Failure, match="Cache-Control is 'public, max-age=3600', but should be 'no-cache'"):
        verify(place, "", CORS)
    if again == "uploaded":
        assert uploaded(access, tmp_path, "1") == name
    else:
        overview.activate_chosen(place, name)
    assert verify(place, "", CORS).endswith("served as it should be.")
    assert activation.served(place).history == (name,)


def written_in_place(access: Access, version: str) -> Mapping[str, bytes]:
    """The example app as Lookit's own builder writes it: at the prefix, with no notes and no compression."""
    files = example.files(version)
    for path, data in files.items():
        stored.put(access, f"{PREFIX}/{path}", data, "text/html" if path == "index.html" else "text/plain")
    return files


def test_rollback_reaches_what_the_builder_wrote(access: Access, place: Place, tmp_path: Path) -> None:
    before = written_in_place(access, "1")
    uploaded(access, tmp_path, "2")
    expect_served(access, "2")
    assert overview.roll_back(place).endswith("is active again. Before: " + revisions_by_age(place)[0] + ".")
    assert before.items() <= visited(access).items()
    with urllib.request.urlopen(place.url) as answer:
        assert (answer.headers["Content-Type"], answer.read()) == ("text/html", before["index.html"])


def test_incomplete_adopted_app_is_kept_but_not_rolled_back_to(
    access: Access, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(written_in_place(access, "1"))
    script = next(path for path in before if "player-" in path and path.endswith(".js"))
    stored.remove(access, f"{PREFIX}/{script}")
    uploaded(access, tmp_path, "2")
    expect_served(access, "2")
    [kept] = overview.overview(place).incomplete
    told = capsys.readouterr().err
    assert f"What was at {PREFIX}/ is kept as revision {kept}, which is incomplete" in told
    assert f"incomplete. Missing:\n- {PREFIX}/{script}\n" in told
    with pytest.raises(Failure, match="There is no revision to go back to"):
        overview.roll_back(place)
    with pytest.raises(Failure, match="is not complete") as caught:
        overview.activate_chosen(place, kept)
    assert caught.value.why == f"- {PREFIX}/{script} is missing or differs."
    assert pruning.prune(place, 0, 30, dry_run=False) == ["Objects removed that no revision needs: 0."]
    assert {before["index.html"], before["robots.txt"]} <= set(
        stored.contents(access, f"{PREFIX}/revisions/{kept}/").values()
    )
    assert {path for path in before if path.startswith("assets/")} - {script} <= visited(access).keys()


def test_files_beside_no_page_are_kept_before_they_are_overwritten(
    access: Access, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.put(access, f"{PREFIX}/robots.txt", b"theirs")
    uploaded(access, tmp_path, "1")
    [kept] = overview.overview(place).incomplete
    assert stored.contents(access, f"{PREFIX}/revisions/{kept}/") == {"robots.txt": b"theirs"}
    assert f"incomplete. Missing:\n- {PREFIX}/index.html\n" in capsys.readouterr().err
    stored.remove(access, f"{PREFIX}/index.html")
    uploaded(access, tmp_path, "2")
    assert overview.overview(place).incomplete == {kept}


def revisions_by_age(place: Place) -> list[str]:
    """The newest upload first; an adopted revision is announced after the one that takes its place."""
    active = activation.served(place).history
    listed = revisions.listed(place).revisions
    return sorted(listed, key=lambda name: name in active[:1])


def test_uploading_what_the_builder_wrote_sends_no_fingerprinted_file(access: Access, tmp_path: Path) -> None:
    written_in_place(access, "1")
    summary = upload_to(access, EMBER, str(example.write(tmp_path / "1", "1")), PREFIX)
    assert (summary.sent, len(summary.to_relabel)) == (4, 6)
    expect_served(access, "1")


def test_adopting_never_overwrites_a_page_written_meanwhile(
    access: Access, place: Place, tmp_path: Path
) -> None:
    written_in_place(access, "1")
    name = uploaded(access, tmp_path, "2", Options(activate=False))
    page, found = activation.served(place), activation.complete(place, name)
    stored.put(access, f"{PREFIX}/index.html", b"<p>theirs", "text/html")
    with pytest.raises(Failure, match="another activation came first") as caught:
        activation.activate(place, name, [name], page, found)
    assert caught.value.why == "A page that is no revision is active now."
    assert visited(access)["index.html"] == b"<p>theirs"


def as_earlier_versions_did(access: Access, version: str, name: str, history: str) -> None:
    """A revision whose files all lie in its own folder, and a page with a base that leads there."""
    from tasks.lib.ember import content

    files, folder = example.files(version), f"{PREFIX}/revisions/{name}"
    noted = {}
    for path, data in files.items():
        stored.put(access, f"{folder}/{path}", data)
        noted[path] = [len(data), f"{content.checksum([data]):08x}", "text/plain", "", False, ""]
    stored.put(access, f"{folder}.json", json.dumps({"revision": name, "files": noted}).encode())
    page = stored.bucket(access).blob(f"{PREFIX}/index.html")
    page.metadata = {"lookit-history": history}
    based = files["index.html"].replace(b"<head>", f'<head><base href="revisions/{name}/">'.encode())
    page.upload_from_string(based, content_type="text/html; charset=utf-8")


def test_revisions_of_earlier_versions_can_be_activated_again(
    access: Access, place: Place, tmp_path: Path
) -> None:
    as_earlier_versions_did(access, "1", "0123456789ab", "0123456789ab")
    as_earlier_versions_did(access, "2", "ba9876543210", "ba9876543210,0123456789ab")
    assert overview.roll_back(place) == "Revision 0123456789ab is active again. Before: ba9876543210."
    expect_served(access, "1")
    uploaded(access, tmp_path, "3")
    expect_served(access, "3")
    assert overview.roll_back(place).startswith("Revision 0123456789ab is active again.")
    assert overview.activate_chosen(place, "ba98").startswith("Revision ba9876543210 is active.")
    expect_served(access, "2")


def test_uploading_what_an_earlier_version_brought_shares_its_files(
    access: Access, place: Place, tmp_path: Path
) -> None:
    name = uploaded(access, tmp_path, "1")
    for path in list(stored.blobs(access, f"{PREFIX}/")):
        stored.remove(access, f"{PREFIX}/{path}")
    as_earlier_versions_did(access, "1", name, name)
    assert uploaded(access, tmp_path, "1") == name
    expect_served(access, "1")
    assert b"<base" not in visited(access)["index.html"]
    assert verify(place, "", CORS).endswith("served as it should be.")
