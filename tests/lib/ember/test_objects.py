"""Listings: cut into ranges where it is known what to expect, and nothing is seen twice or missed."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.ember import objects
from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Line
from tasks.lib.ember.objects import FULL_RANGE, MOST_RANGES, Range, listing, ranges
from tasks.lib.ember.wire import Pool

PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
NAMES = st.lists(st.text(PRINTABLE, min_size=1, max_size=4), max_size=40)


def within(name: str, part: Range) -> bool:
    """Whether Cloud Storage takes a name for one of the range: it compares bytes."""
    encoded = name.encode()
    return part.start.encode() <= encoded and (not part.end or encoded < part.end.encode())


@given(NAMES, NAMES)
def test_every_name_lies_in_exactly_one_range(expected: Sequence[str], there: Sequence[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "FULL_RANGE", 3)
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


def test_a_real_server_lists_the_same_in_ranges_and_in_pages(
    access: Access, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{letter}{number}.js" for letter in ("a", "B", "ä", "-", "𝄞") for number in range(7)]
    for name in [*names, "zz/other.js"]:
        body = json.dumps({"name": f"p/{name}"}).encode()
        head = b"--x\r\nContent-Type: application/json\r\n\r\n" + body
        data = head + b"\r\n--x\r\nContent-Type: text/javascript\r\n\r\n1\r\n--x--\r\n"
        request = urllib.request.Request(f"{access.upload_url()}?uploadType=multipart", data)
        request.add_header("Content-Type", "multipart/related; boundary=x")
        urllib.request.urlopen(request).close()
    plain = listing(pool, access, "p/")
    before = pool.traffic.requests
    monkeypatch.setattr(objects, "FULL_RANGE", 9)
    monkeypatch.setattr(objects, "PAGE", 5)
    ranged = listing(pool, access, "p/", names)
    assert sorted(ranged, key=lambda one: one.name) == sorted(plain, key=lambda one: one.name)
    assert len(ranged) == len(names) + 1
    assert pool.traffic.requests - before >= 8
