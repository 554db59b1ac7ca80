"""The upload plan: applying it gives the app, and planning again gives nothing."""

import hashlib
from collections.abc import Iterable
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.ember import content
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.member import FILE, Member
from tasks.lib.ember.plan import DIGEST_NOTED, Plan, anew, copying, plan, same_content
from tasks.lib.ember.remote import ABSENT, Plain, Remote
from tasks.lib.ember.survey import INDEX

PREFIX = "experiments/one/"
PATHS = [INDEX, "a.js", "b.css", "assets/c.png", "assets/index.html"]
DATA = [b"", b"one", b"two" * 50, b"two" * 51]
HEADERS = [Headers("text/html", "no-cache"), Headers("text/html"), Headers("image/png", "no-cache")]


@cache
def entry(path: str, data: bytes, headers: Headers, compressible: bool) -> Entry:
    return Entry(
        path,
        len(data),
        content.checksum([data]),
        hashlib.sha256(data).digest()[:DIGEST_NOTED],
        headers,
        compressible,
        Member(path, FILE, 0, 0, data),
    )


def written(entry: Entry, name: str, generation: int) -> Remote:
    """What the bucket lists after `entry` was sent."""
    data = entry.member.place
    assert isinstance(data, bytes)
    stored = stored_once(data, entry.compressible)
    return Remote(
        name, len(stored.data), stored.crc32c, entry.headers, stored.encoding, Plain(entry.size, entry.crc32c),
        generation,
    )  # fmt: skip


Kind = tuple[tuple[int, int], Headers, str, Plain | None]


def foreign(path: str, generation: int, kind: Kind) -> Remote:
    """What the bucket lists that another tool wrote, or that says of itself what is not so."""
    (size, crc32c), headers, encoding, plain = kind
    return Remote(PREFIX + path, size, crc32c, headers, encoding, plain, generation)


stored_once = cache(content.stored)
SIZES = [(len(data), content.checksum([data])) for data in DATA]
NOTES = [None, *(Plain(*size) for size in SIZES)]

# All that there is to choose of a file or an object is one choice: each costs Hypothesis some time.
FILES = st.sampled_from([*product(DATA, HEADERS, [True, False])])
KINDS = st.sampled_from([*product([*SIZES, (99, 1)], HEADERS, ["", "gzip", "br"], NOTES)])
ENTRIES = st.dictionaries(st.sampled_from(PATHS), FILES).map(
    lambda found: [entry(path, *rest) for path, rest in found.items()]
)
FOREIGN = st.builds(foreign, st.sampled_from([*PATHS, "old.js"]), st.integers(1, 9), KINDS)
OWN = ENTRIES.map(lambda entries: [written(e, PREFIX + e.path, 5) for e in entries])
LISTINGS = st.one_of(st.lists(FOREIGN, unique_by=lambda remote: remote.name), OWN)


def applied(decided: Plan, listing: Iterable[Remote]) -> dict[str, Remote]:
    """The bucket after the plan: each write is refused where its generation is not the one there."""
    bucket = {remote.name: remote for remote in listing}
    for send in (*decided.send, *decided.last):
        there = bucket.get(send.name)
        assert (there.generation if there else ABSENT) == send.generation
        bucket[send.name] = written(send.entry, send.name, send.generation + 10)
    for change in decided.relabel:
        there = bucket[change.name]
        assert there.generation == change.generation
        bucket[change.name] = Remote(
            there.name,
            there.size,
            there.crc32c,
            change.entry.headers,
            there.encoding,
            there.plain,
            there.generation,
        )
    return bucket


@given(ENTRIES, LISTINGS)
def test_applying_the_plan_gives_the_app(entries: list[Entry], listing: list[Remote]) -> None:
    bucket = applied(plan(entries, PREFIX, listing), listing)
    for one in entries:
        there = bucket[PREFIX + one.path]
        assert same_content(one, there)
        assert there.headers == one.headers


@given(ENTRIES, LISTINGS)
def test_planning_again_gives_nothing(entries: list[Entry], listing: list[Remote]) -> None:
    first = plan(entries, PREFIX, listing)
    again = plan(entries, PREFIX, applied(first, listing).values())
    assert (again.changes, again.unchanged) == (0, len(entries))
    assert {remote.name for remote in again.extra} == {remote.name for remote in first.extra}


@given(ENTRIES, LISTINGS)
def test_every_object_is_in_one_part_of_the_plan(entries: list[Entry], listing: list[Remote]) -> None:
    decided = plan(entries, PREFIX, listing)
    assert decided.changes + decided.unchanged == len(entries)
    assert {remote.name for remote in decided.extra} == {remote.name for remote in listing} - {
        PREFIX + one.path for one in entries
    }


@given(ENTRIES, LISTINGS, ENTRIES)
def test_copies_take_the_place_of_sending_the_very_same_file(
    entries: list[Entry], listing: list[Remote], earlier: list[Entry]
) -> None:
    decided = plan(entries, PREFIX, listing)
    instead = copying(decided, earlier, "earlier/")
    held = {f"earlier/{one.path}": one for one in earlier}
    assert sorted(one.name for one in instead.writes) == sorted(one.name for one in decided.writes)
    assert instead.changes == decided.changes
    for copy in instead.copy:
        source = held[copy.source]
        assert (source.digest, source.headers) == (copy.send.entry.digest, copy.send.entry.headers)
        assert same_content(copy.send.entry, written(source, copy.send.name, 1))
    assert not {(one.entry.digest, one.entry.headers, one.entry.compressible) for one in instead.send} & {
        (one.digest, one.headers, one.compressible) for one in earlier
    }


@given(ENTRIES, LISTINGS)
def test_anew_every_file_is_written_over_what_was_listed(entries: list[Entry], listing: list[Remote]) -> None:
    decided, usual = anew(entries, PREFIX, listing), plan(entries, PREFIX, listing)
    listed = {remote.name: remote.generation for remote in listing}
    assert {one.name: one.generation for one in decided.writes} == {
        PREFIX + one.path: listed.get(PREFIX + one.path, ABSENT) for one in entries
    }
    assert (decided.unchanged, decided.relabel) == (0, ())
    assert all(copy.source == copy.send.name for copy in decided.copy)
    assert len(decided.copy) == usual.unchanged
    assert decided.extra == usual.extra


def test_index_html_is_sent_last_and_alone() -> None:
    html = Headers("text/html")
    decided = plan([entry(INDEX, b"x", html, True), entry("a.js", b"y", html, True)], PREFIX, [])
    assert [send.name for send in decided.last] == [PREFIX + INDEX]
    assert [send.name for send in decided.send] == [f"{PREFIX}a.js"]


def test_a_compressible_file_that_another_tool_wrote_is_sent() -> None:
    one = entry("a.js", b"y" * 99, Headers("text/javascript"), True)
    foreign = Remote(f"{PREFIX}a.js", 99, one.crc32c, one.headers, "", None, 3)
    assert [send.generation for send in plan([one], PREFIX, [foreign]).send] == [3]


def test_an_image_that_another_tool_wrote_counts_as_it_is() -> None:
    one = entry("a.png", b"y" * 99, Headers("image/png"), False)
    foreign = Remote(f"{PREFIX}a.png", 99, one.crc32c, one.headers, "", None, 3)
    assert plan([one], PREFIX, [foreign]).unchanged == 1


ONE, OTHER = SIZES[1], SIZES[2]
NOTED = Plain(*ONE)


@pytest.mark.parametrize(
    ("compressible", "size", "encoding", "note", "same"),
    [
        (False, ONE, "", None, True),
        (False, OTHER, "", None, False),
        (False, OTHER, "", NOTED, False),
        (False, ONE, "gzip", NOTED, False),
        (True, ONE, "", NOTED, True),
        (True, OTHER, "gzip", NOTED, True),
        (True, ONE, "", None, False),
        (True, ONE, "", Plain(*OTHER), False),
        (True, OTHER, "br", NOTED, False),
    ],
    ids=[
        "as it is", "other content", "other content and a note", "packed against its rule", "noted", "noted and packed",
        "nobody noted it", "another note", "packed otherwise",
    ],
)  # fmt: skip
def test_an_object_holds_a_file(
    compressible: bool, size: tuple[int, int], encoding: str, note: Plain | None, same: bool
) -> None:
    remote = foreign("a.js", 1, (size, HEADERS[0], encoding, note))

    assert same_content(entry("a.js", DATA[1], HEADERS[0], compressible), remote) is same
