"""Listings: cut into ranges where it is known what to expect, and nothing is seen twice or missed."""

import dataclasses
import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.ember import listing
from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Ended, Line
from tasks.lib.ember.listing import FULL_RANGE, MOST_RANGES, Listing, Range, ranges
from tasks.lib.ember.remote import Remote
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure

PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
NAMES = st.lists(st.text(PRINTABLE, min_size=1, max_size=4), max_size=40)


def within(name: str, part: Range) -> bool:
    """Whether Cloud Storage takes a name for one of the range: it compares bytes."""
    encoded = name.encode()
    return part.start.encode() <= encoded and (not part.end or encoded < part.end.encode())


@given(NAMES, NAMES)
def test_every_name_lies_in_exactly_one_range(expected: Sequence[str], there: Sequence[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "FULL_RANGE", 3)
        found = ranges("p/", expected)
    for name in (f"p/{one}" for one in (*expected, *there)):
        assert sum(within(name, part) for part in found) == 1


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 1), (FULL_RANGE, 1), (FULL_RANGE + 1, 2), (10 * FULL_RANGE, 10), (100_000, MOST_RANGES)],
)
def test_a_range_is_about_a_page(count: int, expected: int) -> None:
    assert len(ranges("p/", [str(number) for number in range(count)])) == expected


@pytest.fixture
def pool(access: Access) -> Iterator[Pool]:
    with closing(Pool(access, Line(4))) as made:
        yield made


@pytest.fixture
def names(access: Access) -> list[str]:
    """Objects at `p/`, by their names without it, and one more that nobody expects."""
    written = [f"{letter}{number}.js" for letter in ("a", "B", "ä", "-", "𝄞") for number in range(7)]
    for name in [*written, "zz/other.js"]:
        body = json.dumps({"name": f"p/{name}"}).encode()
        head = b"--x\r\nContent-Type: application/json\r\n\r\n" + body
        data = head + b"\r\n--x\r\nContent-Type: text/javascript\r\n\r\n1\r\n--x--\r\n"
        request = urllib.request.Request(f"{access.upload_url()}?uploadType=multipart", data)
        request.add_header("Content-Type", "multipart/related; boundary=x")
        urllib.request.urlopen(request).close()
    return written


def by_name(found: list[Remote]) -> list[Remote]:
    return sorted(found, key=lambda one: one.name)


def test_a_real_server_lists_the_same_in_ranges_and_in_pages(
    access: Access, pool: Pool, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = listing.whole(pool, access, "p/")
    before = pool.traffic.requests
    monkeypatch.setattr(listing, "FULL_RANGE", 9)
    monkeypatch.setattr(listing, "PAGE", 5)
    ranged = listing.whole(pool, access, "p/", names)
    assert by_name(ranged) == by_name(plain)
    assert len(ranged) == len(names) + 1
    assert pool.traffic.requests - before >= 8


@pytest.mark.parametrize("page", [1, 4, 5, 36, 1000])
@pytest.mark.parametrize("expected", [0, 3, 20, 35])
def test_what_was_begun_before_it_was_known_what_to_expect_lists_the_same(
    access: Access, pool: Pool, names: list[str], monkeypatch: pytest.MonkeyPatch, page: int, expected: int
) -> None:
    plain = listing.whole(pool, access, "p/")
    monkeypatch.setattr(listing, "FULL_RANGE", 9)
    monkeypatch.setattr(listing, "PAGE", page)
    with Listing(pool, access, "p/") as begun:
        begun.expect(names[:expected])
        assert by_name(begun.wait()) == by_name(plain)


def test_the_rest_is_asked_for_side_by_side_once_it_is_known_what_to_expect(
    access: Access, pool: Pool, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 12)
    monkeypatch.setattr(listing, "FULL_RANGE", 10)
    with Listing(pool, access, "p/") as begun:
        begun.expect(names)
        begun.wait()
    assert (pool.traffic.requests, pool.traffic.connections) == (1 + 3, 3)


def test_a_bucket_that_is_not_there_is_told_where_the_answer_is_waited_for(access: Access) -> None:
    nowhere = dataclasses.replace(access, bucket="nowhere")
    with (
        closing(Pool(nowhere, Line(4))) as pool,
        Listing(pool, nowhere, "p/") as begun,
        pytest.raises(Failure, match="nowhere could not be listed"),
    ):
        begun.wait()


def test_one_that_nobody_waits_for_any_more_ends(
    access: Access, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names
    monkeypatch.setattr(listing, "PAGE", 5)

    def interrupted(pool: Pool) -> None:
        while not pool.traffic.requests:
            time.sleep(0.001)
        raise KeyboardInterrupt

    with closing(Pool(access, Line(4))) as pool:
        with pytest.raises(KeyboardInterrupt), Listing(pool, access, "p/") as begun:
            interrupted(pool)
        with pytest.raises(Ended):
            begun.wait()
