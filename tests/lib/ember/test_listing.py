"""Listings: cut into ranges where it is known what to expect, and nothing is seen twice or missed."""

import dataclasses
import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.ember import listing
from tasks.lib.ember.access import Access
from tasks.lib.ember.http import Pool
from tasks.lib.ember.listing import FULL_RANGE, MOST_RANGES, Range, ranges
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
        found = ranges(f"p/{name}" for name in expected)
    for name in (f"p/{one}" for one in (*expected, *there)):
        assert sum(within(name, part) for part in found) == 1


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 1), (FULL_RANGE, 1), (FULL_RANGE + 1, 2), (10 * FULL_RANGE, 10), (100_000, MOST_RANGES)],
)
def test_a_range_is_about_a_page(count: int, expected: int) -> None:
    assert len(ranges(f"p/{number}" for number in range(count))) == expected


@pytest.fixture
def pool(access: Access) -> Iterator[Pool]:
    with closing(Pool(access, 4)) as made:
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


def test_real_server_lists_ranges_and_pages_alike(
    access: Access, pool: Pool, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = listing.below(pool, access, "p/")
    before = pool.traffic.requests
    monkeypatch.setattr(listing, "FULL_RANGE", 9)
    monkeypatch.setattr(listing, "PAGE", 5)
    ranged = listing.below(pool, access, "p/", [f"p/{name}" for name in names])
    assert ranged == plain
    assert len(ranged) == len(names) + 1
    assert pool.traffic.requests - before >= 8


def test_a_folder_is_listed_without_its_own_folders(
    access: Access, pool: Pool, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 5)
    items = pool.ask(listing.directly_in(access, "p/"))
    assert sorted(item.name for item in items) == sorted(f"p/{name}" for name in names)


def test_a_bucket_that_is_not_there_is_told(access: Access) -> None:
    nowhere = dataclasses.replace(access, bucket="nowhere")
    with closing(Pool(nowhere, 4)) as pool, pytest.raises(Failure, match="nowhere could not be listed"):
        listing.below(pool, nowhere, "p/")
