"""The upload plan: applying it gives the app, and planning again gives nothing."""

import hashlib
from collections.abc import Iterable
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tasks.lib.ember import content
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.objects import ABSENT, Plain, Remote
from tasks.lib.ember.plan import DIGEST_NOTED, Plan, copying, plan, same_content

PREFIX = "experiments/one/"
PATHS = [INDEX, "a.js", "b.css", "assets/c.png", "assets/index.html"]
DATA = [b"", b"one", b"two" * 50, b"two" * 51]
HEADERS = [Headers("text/html", "no-cache"), Headers("text/html"), Headers("image/png", "no-cache")]


# The content of each entry.
CONTENTS: dict[Entry, bytes] = {}


@cache
def entry(path: str, data: bytes, headers: Headers, compressible: bool) -> Entry:
    digest = hashlib.sha256(data).digest()[:DIGEST_NOTED]
    made = Entry(path, len(data), content.checksum([data]), digest, headers, compressible)
    CONTENTS[made] = data
    return made


def written(entry: Entry, name: str, generation: int) -> Remote:
    """What the bucket lists after `entry` was sent."""
    stored = stored_once(CONTENTS[entry], entry.compressible)
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


def live(entry: Entry) -> str:
    return PREFIX + entry.path


def by_name(listing: Iterable[Remote]) -> dict[str, Remote]:
    return {remote.name: remote for remote in listing}


def applied(decided: Plan, listing: Iterable[Remote]) -> dict[str, Remote]:
    """The bucket after the plan: each write is refused where its generation is not the one there."""
    bucket = by_name(listing)
    for send in decided.writes:
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
    bucket = applied(plan(entries, live, by_name(listing)), listing)
    for one in entries:
        there = bucket[PREFIX + one.path]
        assert same_content(one, there)
        assert there.headers == one.headers


@given(ENTRIES, LISTINGS)
def test_planning_again_gives_nothing(entries: list[Entry], listing: list[Remote]) -> None:
    again = plan(entries, live, applied(plan(entries, live, by_name(listing)), listing))
    assert (again.writes, again.relabel, again.unchanged) == ([], [], len(entries))


@given(ENTRIES, LISTINGS)
def test_every_file_is_in_one_part_of_the_plan(entries: list[Entry], listing: list[Remote]) -> None:
    decided = plan(entries, live, by_name(listing))
    assert len(decided.writes) + len(decided.relabel) + decided.unchanged == len(entries)


@given(ENTRIES, LISTINGS, ENTRIES)
def test_copies_take_the_place_of_sending_the_very_same_file(
    entries: list[Entry], listing: list[Remote], earlier: list[Entry]
) -> None:
    decided = plan(entries, live, by_name(listing))
    held = {f"earlier/{one.path}": one for one in earlier}
    instead = copying(decided, earlier, lambda one: f"earlier/{one.path}", held)
    assert sorted(one.name for one in instead.writes) == sorted(one.name for one in decided.writes)
    for copy in instead.copy:
        source = held[copy.source]
        assert (source.digest, source.headers) == (copy.send.entry.digest, copy.send.entry.headers)
        assert same_content(copy.send.entry, written(source, copy.send.name, 1))
    assert not {(one.entry.digest, one.entry.headers, one.entry.compressible) for one in instead.send} & {
        (one.digest, one.headers, one.compressible) for one in earlier
    }


def test_removed_object_is_no_source_of_a_copy() -> None:
    one = entry("a.js", b"y", Headers("text/javascript"), True)
    assert copying(plan([one], live, {}), [one], lambda _: "earlier/a.js", ()).copy == []


@given(ENTRIES, LISTINGS)
def test_planned_removals_are_renewed(entries: list[Entry], listing: list[Remote]) -> None:
    there = by_name(listing)
    decided = plan(entries, live, there, {(one.name, one.generation) for one in listing})
    assert (decided.unchanged, decided.relabel) == (0, [])
    assert all(copy.source == copy.send.name for copy in decided.copy)
    assert {one.name: one.generation for one in decided.writes} == {
        live(one): there[live(one)].generation if live(one) in there else ABSENT for one in entries
    }


def test_only_known_other_content_of_a_fingerprinted_file_clashes() -> None:
    one = replace(entry("a.js", b"y" * 99, Headers("text/javascript"), True), shared=True)
    other = Remote(live(one), 99, 7, one.headers, "", None, 3)
    assert plan([one], live, {other.name: other}).clashing == [live(one)]
    packed = Remote(live(one), 99, 7, one.headers, "gzip", None, 3)
    assert plan([one], live, {packed.name: packed}).clashing == []


ONE, OTHER = SIZES[1], SIZES[2]
NOTED = Plain(*ONE)


@pytest.mark.parametrize(
    ("size", "encoding", "note", "same"),
    [
        (ONE, "", None, True),
        (OTHER, "", None, False),
        (OTHER, "gzip", NOTED, True),
        (OTHER, "gzip", None, False),
        (OTHER, "gzip", Plain(*OTHER), False),
    ],
    ids=["as it is", "other content", "noted and packed", "nobody noted it", "another note"],
)
def test_an_object_holds_a_file(size: tuple[int, int], encoding: str, note: Plain | None, same: bool) -> None:
    remote = foreign("a.js", 1, (size, HEADERS[0], encoding, note))
    for compressible in (True, False):
        assert same_content(entry("a.js", DATA[1], HEADERS[0], compressible), remote) is same
