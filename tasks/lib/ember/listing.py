"""Listing a bucket: in pages, and in ranges side by side where it is known what to expect."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from msgspec import Struct, field

from tasks.lib.ember.access import Access
from tasks.lib.ember.answers import answer, ask, refused
from tasks.lib.ember.http import Job, Pool, Request, Steps
from tasks.lib.ember.objects import FIELDS, Item, Remote, remote_of

Made = TypeVar("Made")
PAGE = 1000
# So many names in one range of a listing, somewhat less than a page, since the bucket may hold others too.
FULL_RANGE = 900
# More ranges than that at once take memory and gain little.
MOST_RANGES = 16


class _Part(Struct, rename="camel"):
    """What the JSON API answers to a listing."""

    items: list[Item] = field(default_factory=list)
    next_page_token: str = ""


class Range(NamedTuple):
    """Names from `start` on, before `end`; an empty text is no bound."""

    start: str = ""
    end: str = ""


def below(pool: Pool, access: Access, prefix: str, expected: Sequence[str] = ()) -> dict[str, Remote]:
    """The objects whose names start with `prefix`, by name.

    A page names the next one, so pages come one after the other.  Where it is known which names to expect,
    the listing is cut into ranges of about a page, and these are asked for side by side.
    """
    query = {"prefix": prefix, "fields": f"items({FIELDS}),nextPageToken"}
    parts = pool.run(
        Job(_all(access, {**query, "startOffset": start, "endOffset": end}, remote_of))
        for start, end in ranges(expected)
    )
    return {remote.name: remote for part in parts for remote in part}


def directly_in(access: Access, folder: str) -> Steps[list[Item]]:
    """The objects of a folder, without those of its own folders."""
    fields = f"items({FIELDS},timeCreated),nextPageToken"
    return _all(access, {"prefix": folder, "delimiter": "/", "fields": fields}, _as_it_is)


def matching(access: Access, folder: str, pattern: str) -> Steps[list[Item]]:
    """The objects below a folder whose names match a glob, in which `*` is no slash.

    The server may return others too: not every one knows matchGlob.
    """
    fields = "items(name,generation,timeCreated,metadata),nextPageToken"
    return _all(access, {"prefix": folder, "matchGlob": pattern, "fields": fields}, _as_it_is)


def is_alone(access: Access, prefix: str, name: str) -> Steps[bool]:
    """Whether no object below a prefix has another name than this one."""
    fields = "items(name,generation),nextPageToken"
    page = yield from _page(access, {"prefix": prefix, "fields": fields, "maxResults": "2"})
    return not page.next_page_token and all(item.name == name for item in page.items)


def ranges(expected: Iterable[str]) -> list[Range]:
    """Ranges that cover all names together, each with about as many of those expected."""
    # Names are ordered by their UTF-8 bytes, which is how Python orders texts too.
    names = sorted(expected)
    count = min(MOST_RANGES, -(-len(names) // FULL_RANGE))
    if count < 2:
        return [Range()]
    cuts = [names[len(names) * number // count] for number in range(1, count)]
    return [Range(*ends) for ends in zip(["", *cuts], [*cuts, ""], strict=True)]


def _all(access: Access, query: dict[str, str], made: Callable[[Item], Made]) -> Steps[list[Made]]:
    """What is made of each object of all pages."""
    found: list[Made] = []
    while True:
        page = yield from _page(access, query)
        found.extend(map(made, page.items))
        query["pageToken"] = page.next_page_token
        if not page.next_page_token:
            return found


def _as_it_is(item: Item) -> Item:
    return item


def _page(access: Access, query: Mapping[str, str]) -> Steps[_Part]:
    asked = {"maxResults": str(PAGE), **{key: value for key, value in query.items() if value}}
    request = Request("GET", f"{access.objects_url()}?{urlencode(asked)}")
    response = yield from ask(access, request)
    if response.status != 200:
        raise refused(response, access, f"The bucket {access.bucket} could not be listed.")
    return answer(response, _Part)
