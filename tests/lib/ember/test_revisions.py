"""Revisions in a real storage server: uploaded, activated, rolled back, pruned."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from sandbox import example
from tasks.lib.ember import activation, listing, objects, page, pruning, reading, revision, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Line
from tasks.lib.ember.page import based, missing
from tasks.lib.ember.remote import remote_of
from tasks.lib.ember.revision import Revision
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure, UsageError
from tests.builders import checked_in_settings

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
WHERE = f"{PREFIX}/"


@pytest.fixture
def pool(access: Access) -> Iterator[Pool]:
    with closing(Pool(access, Line(8))) as made:
        yield made


def uploaded(access: Access, folder: Path, version: str, options: Options | None = None) -> str:
    """The revision of the example app in this version, which is in the bucket now."""
    source = example.write(folder / version, version)
    return upload_to(access, EMBER, str(source), PREFIX, options or Options()).revision


def served(pool: Pool, access: Access) -> str:
    """The revision that the page at the prefix leads to."""
    page = reading.fetched(pool, access, f"{WHERE}index.html")
    match = re.search(rb'<base href="revisions/([0-9a-f]+)/">', page)
    return match[1].decode() if match else ""


def pruned(pool: Pool, access: Access, name: str) -> str:
    """What was done with a revision that was chosen as it is now."""
    found = reading.look_up(pool, access, revision.manifest_name(WHERE, name))
    return pruning.prune(pool, access, WHERE, name, int(found.generation) if found else 0)


def test_an_upload_is_a_revision_and_becomes_active(access: Access, pool: Pool, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    complete, incomplete, _ = revisions.listed(pool, access, WHERE)
    assert [(one.name, one.files) for one in complete] == [(name, 10)]
    assert incomplete == []
    assert served(pool, access) == name == activation.active(pool, access, WHERE).name


def test_the_same_app_is_the_same_revision_and_sends_nothing(access: Access, tmp_path: Path) -> None:
    first = uploaded(access, tmp_path, "1")
    again = upload_to(access, EMBER, str(tmp_path / "1"), PREFIX)
    assert (again.revision, again.active, again.sent) == (first, first, 0)


def test_an_upload_can_wait_to_be_activated(access: Access, pool: Pool, tmp_path: Path) -> None:
    first = uploaded(access, tmp_path, "1")
    second = uploaded(access, tmp_path, "2", Options(activate=False))
    assert first != second
    assert served(pool, access) == first
    activation.activate(pool, access, WHERE, second, [second, first], activation.active(pool, access, WHERE))
    assert served(pool, access) == second


def test_two_activations_at_once_one_wins_and_the_other_is_told(
    access: Access, pool: Pool, tmp_path: Path
) -> None:
    names = [uploaded(access, tmp_path, version, Options(activate=False)) for version in ("1", "2")]
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def activate(name: str) -> None:
        with closing(Pool(access, Line(1))) as own:
            now = activation.active(own, access, WHERE)
            barrier.wait()
            try:
                activation.activate(own, access, WHERE, name, [name], now)
                outcomes.append(f"{name} won")
            except Failure as failure:
                outcomes.append(failure.why)

    threads = [threading.Thread(target=activate, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = served(pool, access)
    assert sorted(outcomes) == sorted([f"{winner} won", f"{winner} is active now."])


def test_rolling_back_goes_further_each_time(access: Access, pool: Pool, tmp_path: Path) -> None:
    one, two, three = (uploaded(access, tmp_path, version) for version in "123")
    for expected in (two, one):
        now = activation.active(pool, access, WHERE)
        complete = revisions.listed(pool, access, WHERE).complete
        history = revision.rolled_back(now.history, {r.name for r in complete})
        activation.activate(pool, access, WHERE, history[0], history, now)
        assert served(pool, access) == expected
    assert three != one
    assert revision.rolled_back(activation.active(pool, access, WHERE).history, {one, two, three}) == []


def test_a_revision_with_a_file_missing_is_not_activated(access: Access, pool: Pool, tmp_path: Path) -> None:
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    name = f"{revision.folder(WHERE, one)}robots.txt"
    there = reading.look_up(pool, access, name)
    assert there
    pool.run([objects.removed(access, remote_of(there), lambda _name: None)])
    with pytest.raises(Failure) as caught:
        activation.activate(pool, access, WHERE, one, [one, two], activation.active(pool, access, WHERE))
    assert caught.value.why == f"- {name} is missing or differs."
    assert served(pool, access) == two


def test_pruning_removes_a_whole_revision(access: Access, pool: Pool, tmp_path: Path) -> None:
    one, two, three = (uploaded(access, tmp_path, version) for version in "123")
    assert pruned(pool, access, one) == "removed (11 objects)"
    assert [r.name for r in revisions.listed(pool, access, WHERE).complete] == [three, two]
    assert served(pool, access) == three


def test_an_active_revision_is_not_pruned(access: Access, pool: Pool, tmp_path: Path) -> None:
    one = uploaded(access, tmp_path, "1")
    with pytest.raises(Failure, match="was activated while it was being pruned"):
        pruned(pool, access, one)
    assert upload_to(access, EMBER, str(tmp_path / "1"), PREFIX).sent == 0
    assert [r.name for r in revisions.listed(pool, access, WHERE).complete] == [one]


def test_a_revision_that_a_rollback_would_go_to_is_not_pruned(
    access: Access, pool: Pool, tmp_path: Path
) -> None:
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    with pytest.raises(Failure) as caught:
        pruned(pool, access, one)
    assert "nothing of it was removed" in caught.value.why
    assert {r.name for r in revisions.listed(pool, access, WHERE).complete} == {one, two}


def test_a_revision_that_is_activated_once_its_pruning_was_begun_stays_whole(
    access: Access, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = uploaded(access, tmp_path, "1")
    real = activation.active
    answers = iter([activation.Active((), 0)])
    monkeypatch.setattr(activation, "active", lambda *asked: next(answers, None) or real(*asked))
    with pytest.raises(Failure, match="was activated while it was being pruned") as caught:
        pruned(pool, access, one)
    assert "nothing of it was removed" in caught.value.why
    monkeypatch.undo()
    assert [r.name for r in revisions.listed(pool, access, WHERE).complete] == [one]


@pytest.fixture
def pruned_before_the_write(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Makes a pruning of the named revision come between an activation's look and its write."""
    to_prune: list[str] = []

    def late(index: bytes, folder: str) -> bytes:
        with closing(Pool(access, Line(1))) as another:
            while to_prune:
                pruned(another, access, to_prune.pop())
        return based(index, folder)

    monkeypatch.setattr(page, "based", late)
    yield to_prune.append
    assert not to_prune


def test_a_revision_pruned_before_its_page_is_written_is_not_activated(
    access: Access, pool: Pool, tmp_path: Path, pruned_before_the_write: Callable[[str], None]
) -> None:
    one, two, three = (uploaded(access, tmp_path, version) for version in "123")
    entries = revisions.entries_in(pool, access, WHERE, one)
    now = activation.active(pool, access, WHERE)

    pruned_before_the_write(one)
    with pytest.raises(Failure, match=f"Revision {one} is not whole; nothing was activated."):
        activation.activate(pool, access, WHERE, one, [one, *now.history], now, entries)

    assert served(pool, access) == three
    assert {r.name for r in revisions.listed(pool, access, WHERE).complete} == {two, three}


def test_pruning_another_revision_does_not_keep_one_from_being_activated(
    access: Access, pool: Pool, tmp_path: Path, pruned_before_the_write: Callable[[str], None]
) -> None:
    one, two, _three = (uploaded(access, tmp_path, version) for version in "123")
    now = activation.active(pool, access, WHERE)

    pruned_before_the_write(one)
    activation.activate(pool, access, WHERE, two, [two, *now.history], now)

    assert served(pool, access) == two
    assert reading.look_up(pool, access, f"{WHERE}index.html")


def test_a_revision_pruned_before_the_first_page_of_all_is_written_is_not_activated(
    access: Access, pool: Pool, tmp_path: Path, pruned_before_the_write: Callable[[str], None]
) -> None:
    one = uploaded(access, tmp_path, "1", Options(activate=False))
    pruned_before_the_write(one)
    with pytest.raises(Failure, match=f"Revision {one} is not whole; nothing was activated."):
        activation.activate(pool, access, WHERE, one, [one], activation.active(pool, access, WHERE))
    assert activation.active(pool, access, WHERE) == activation.Active((), 0)
    assert listing.whole(pool, access, WHERE) == []


def test_pruning_renews_a_page_that_awaits_its_first_revision(
    access: Access, pool: Pool, tmp_path: Path, pruned_before_the_write: Callable[[str], None]
) -> None:
    one, two = (uploaded(access, tmp_path, version, Options(activate=False)) for version in "12")
    pruned_before_the_write(one)
    activation.activate(pool, access, WHERE, two, [two], activation.active(pool, access, WHERE))
    assert served(pool, access) == two


def marked(pool: Pool, access: Access, name: str) -> None:
    """Leave a revision as a pruning does that is broken off once it has begun."""
    target = revision.manifest_name(WHERE, name)
    there = reading.look_up(pool, access, target)
    assert there
    assert pruning._marked(pool, access, target, name, int(there.generation))


def test_a_revision_whose_pruning_was_begun_is_not_activated(
    access: Access, pool: Pool, tmp_path: Path
) -> None:
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    marked(pool, access, one)
    found = revisions.listed(pool, access, WHERE)
    assert ([r.name for r in found.complete], found.incomplete, list(found.pruned)) == ([two], [], [one])
    with pytest.raises(Failure, match=f"Revision {one} is not whole; nothing was activated."):
        activation.activate(pool, access, WHERE, one, [one, two], activation.active(pool, access, WHERE))
    assert served(pool, access) == two


def test_uploading_a_revision_whose_pruning_was_begun_writes_every_file_again(
    access: Access, pool: Pool, tmp_path: Path
) -> None:
    one = uploaded(access, tmp_path, "1")
    uploaded(access, tmp_path, "2")
    where = revision.folder(WHERE, one)
    before = {there.name: there.generation for there in listing.whole(pool, access, where)}
    marked(pool, access, one)

    summary = upload_to(access, EMBER, str(tmp_path / "1"), PREFIX)

    assert (summary.sent, summary.copied, summary.unchanged) == (0, 10, 0)
    after = {there.name: there.generation for there in listing.whole(pool, access, where)}
    assert after.keys() == before.keys()
    assert not before.items() & after.items()
    assert served(pool, access) == one == revisions.listed(pool, access, WHERE).complete[0].name


def test_files_that_another_upload_wrote_before_a_mark_are_not_taken_for_written_after_it(
    access: Access, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = uploaded(access, tmp_path, "1", Options(activate=False))
    marked(pool, access, one)
    where = revision.folder(WHERE, one)
    before = {(there.name, there.generation) for there in listing.whole(pool, access, where)}
    real, listings = listing.jobs, iter([iter(())])
    monkeypatch.setattr(listing, "jobs", lambda *asked: next(listings, None) or real(*asked))

    upload_to(access, EMBER, str(tmp_path / "1"), PREFIX)

    assert not before & {(there.name, there.generation) for there in listing.whole(pool, access, where)}


def test_what_another_pruning_has_begun_is_left_to_it(access: Access, pool: Pool, tmp_path: Path) -> None:
    one, _two, _three = (uploaded(access, tmp_path, version) for version in "123")
    chosen = next(r for r in revisions.listed(pool, access, WHERE).complete if r.name == one)
    marked(pool, access, one)
    told = pruning.prune(pool, access, WHERE, one, chosen.generation)
    assert told == "is left to another pruning that is at it"
    assert pruned(pool, access, one) == "removed (11 objects)"
    assert pruning.prune(pool, access, WHERE, one, chosen.generation) == "was removed by another pruning"


def test_a_mark_that_was_put_over_another_is_not_taken_back(
    access: Access, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = uploaded(access, tmp_path, "1")
    marked(pool, access, one)
    real, answers = activation.active, iter([activation.Active((), 0)])
    monkeypatch.setattr(activation, "active", lambda *asked: next(answers, None) or real(*asked))
    with pytest.raises(Failure, match="was activated while it was being pruned") as caught:
        pruned(pool, access, one)
    assert caught.value.why == "Its files are there, its manifest is gone."
    monkeypatch.undo()
    assert list(revisions.listed(pool, access, WHERE).pruned) == [one]
    assert upload_to(access, EMBER, str(tmp_path / "1"), PREFIX).sent == 0
    assert [r.name for r in revisions.listed(pool, access, WHERE).complete] == [one]


def test_what_was_uploaded_since_it_was_chosen_stays(access: Access, pool: Pool, tmp_path: Path) -> None:
    one, _two, _three = (uploaded(access, tmp_path, version) for version in "123")
    assert pruning.prune(pool, access, WHERE, one, 0) == "stays: it was uploaded meanwhile"
    assert one in {r.name for r in revisions.listed(pool, access, WHERE).complete}


def test_an_unchanged_revision_costs_four_requests_and_a_first_one_a_page_more(
    access: Access, tmp_path: Path
) -> None:
    source = str(example.write(tmp_path / "1", "1"))
    # Page, manifest and list; ten files and the manifest; the page to come, manifest, list, index.html, page.
    assert upload_to(access, EMBER, source, PREFIX).requests == 3 + 11 + 5
    # Page, the manifest of what it serves, manifest and list.
    assert upload_to(access, EMBER, source, PREFIX).requests == 4


def test_pruning_leaves_the_page_as_it_was(access: Access, pool: Pool, tmp_path: Path) -> None:
    one, _two, _three = (uploaded(access, tmp_path, version) for version in "123")
    before = reading.look_up(pool, access, f"{WHERE}index.html")
    content = reading.fetched(pool, access, f"{WHERE}index.html")

    pruned(pool, access, one)

    after = reading.look_up(pool, access, f"{WHERE}index.html")
    assert before
    assert after
    assert after.generation != before.generation
    # Written onto itself, it is a new object to Cloud Storage.
    assert structs.replace(after, generation=before.generation, time_created=before.time_created) == before
    assert reading.fetched(pool, access, f"{WHERE}index.html") == content


def test_what_an_ended_upload_left_is_abandoned_after_a_while(
    access: Access, pool: Pool, tmp_path: Path
) -> None:
    name = uploaded(access, tmp_path, "1", Options(activate=False))
    there = reading.look_up(pool, access, revision.manifest_name(WHERE, name))
    assert there
    pool.run([objects.removed(access, remote_of(there), lambda _name: None)])
    complete, incomplete, _ = revisions.listed(pool, access, WHERE)
    assert (complete, incomplete) == ([], [name])

    def abandoned(days: float, later: timedelta) -> list[str]:
        return pruning.abandoned(pool, access, WHERE, incomplete, days, datetime.now(UTC) + later)

    assert abandoned(0, timedelta(hours=23)) == []
    assert abandoned(0, timedelta(days=1)) == [name]
    assert abandoned(30, timedelta(days=29)) == []
    assert abandoned(30, timedelta(days=30)) == [name]


def test_what_is_served_is_not_abandoned_although_its_manifest_is_gone(
    access: Access, pool: Pool, tmp_path: Path
) -> None:
    name = uploaded(access, tmp_path, "1")
    later = datetime.now(UTC) + timedelta(days=60)
    assert pruning.abandoned(pool, access, WHERE, [name], 30, later) == []


def test_a_revision_may_be_named_by_its_beginning() -> None:
    made = [Revision(name, datetime.now(UTC), 1, 1, 1) for name in ("aa11", "aa22", "bb33")]
    assert revisions.known(made, "b") == "bb33"
    with pytest.raises(UsageError, match="More than one revision begins with 'aa'"):
        revisions.known(made, "aa")
    with pytest.raises(UsageError, match="There is no complete revision 'cc'"):
        revisions.known(made, "cc")


NOW = datetime(2026, 1, 31, tzinfo=UTC)


def aged(**days: int) -> list[Revision]:
    return [Revision(name, NOW - timedelta(days=age), 1, 1, 1) for name, age in days.items()]


@pytest.mark.parametrize(
    ("history", "keep", "days", "gone"),
    [
        (["a"], 0, 0, ["d", "c", "b"]),
        (["a", "b"], 0, 0, ["d", "c"]),
        (["d", "c"], 0, 0, ["b", "a"]),
        (["a"], 2, 0, ["d", "c"]),
        (["a"], 0, 25, ["d"]),
        ([], 1, 0, ["d", "c", "b"]),
        (["a", "pruned-before", "c"], 0, 0, ["d", "b"]),
        (["a", "b", "c", "d"], 0, 0, ["d", "c"]),
        (["a"], 9, 0, []),
    ],
)
def test_what_pruning_spares(history: list[str], keep: int, days: int, gone: list[str]) -> None:
    found = revision.prunable(aged(a=1, b=10, c=20, d=30), history, keep, timedelta(days=days), NOW)
    assert [one.name for one in found] == gone


def test_a_page_is_given_a_base_first_thing_in_its_head() -> None:
    page = b'<!DOCTYPE html><html><head lang="en"><link href="a.css"></head>'
    assert based(page, "revisions/1f/") == page.replace(b'"en">', b'"en"><base href="revisions/1f/">')


def test_a_head_in_a_comment_is_none() -> None:
    page = "<!-- \u00e9 <head> -->\n<html>\n<HEAD\n><link>".encode()
    assert based(page, "r/") == page.replace(b"\n><link>", b'\n><base href="r/"><link>')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"<p>text</p>"),
        (b"", b"text<head>"),
        (b"<!DOCTYPE html>", b"\n<title>t</title><script src=a.js></script>"),
        (b"<!-- note --><!doctype HTML >", b"<p><html><head>"),
        (b'<!DOCTYPE html>\n<html lang="en">', b"\n<script src=a.js></script><head>"),
        (b"<html>", b"<p>"),
        (b"<html><head>", b"<title>t</title></head>"),
        (b"\xef\xbb\xbf", b"<p>text</p>"),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<html>\n<head>", b"<p>"),
    ],
)
def test_a_head_need_not_be_spelled_out(before: bytes, after: bytes) -> None:
    """https://html.spec.whatwg.org/multipage/syntax.html#optional-tags"""
    assert based(before + after, "r/") == before + b'<base href="r/">' + after


@pytest.mark.parametrize(
    ("index", "lacking"),
    [
        (b'<script src="assets/app.js"></script><link rel=stylesheet href="./a%20b.css?v=1#x">', []),
        (b'<script src="assets/gone.js"></script><img src="../up.png">', ["assets/gone.js", "../up.png"]),
        (b'<link rel="icon stylesheet" href=gone.css><link rel=canonical href=about>', ["gone.css"]),
        (b'<base href="assets/"><script src="app.js"></script><script src="gone.js"></script>', ["gone.js"]),
        (b'<base href="https://cdn.example/"><script src="gone.js"></script>', []),
        (
            b'<script src="/a.js"></script><script src="//x/a.js"></script><img src="data:image/png;base64,AA">',
            [],
        ),
        (b'<script src="https://x/a.js"></script><script src=""></script><script></script><a href=gone>', []),
        ('<img src="sch\u00f6n.png"><img src="weg\u00e4.png">'.encode(), ["weg\u00e4.png"]),
        (b"<!-- <script src=gone.js></script> -->", []),
        (b"<script src=gone.js></script>" * 2, ["gone.js"]),
    ],
)
def test_what_a_page_loads_in_vain_is_found(index: bytes, lacking: list[str]) -> None:
    paths = {"index.html", "assets/app.js", "a b.css", "sch\u00f6n.png"}

    assert list(missing(index, paths)) == lacking


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (b'<head><script src="/assets/a.js"></script>', "/assets/a.js is absolute."),
        (b'<head><base href="/app/">', 'It has a <base href="/app/"> of its own.'),
    ],
)
def test_a_page_that_a_base_does_not_move_is_refused(page: bytes, why: str) -> None:
    with pytest.raises(Failure) as caught:
        based(page, "revisions/1f/")
    assert caught.value.why == why


def test_addresses_elsewhere_are_left_alone() -> None:
    page = b'<head><base href="./"><script src="//cdn.example/x.js"></script><a href="/about">'
    assert based(page, "r/").startswith(b'<head><base href="r/"><base href="./">')
