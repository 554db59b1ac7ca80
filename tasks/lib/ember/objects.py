"""Objects of a bucket: listed, looked at, relabelled and removed through the JSON API."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tasks.lib.ember.access import Access
from tasks.lib.ember.content import from_base64
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.persistence import ask, refused
from tasks.lib.ember.plan import Plain, Relabel, Remote
from tasks.lib.ember.wire import Job, Pool, Request, Steps
from tasks.lib.errors import Failure

FIELDS = "name,size,crc32c,contentType,cacheControl,contentEncoding,generation,metadata"
PAGE = 1000
# So many names in one range of a listing, somewhat less than a page, since the bucket may hold others too.
FULL_RANGE = 900
# More ranges than that at once take memory and gain little.
MOST_RANGES = 16
# The key of an object's own metadata that holds what this tool noted of the unpacked content.
PLAIN_KEY = "lookit-plain"
JSON = "Content-Type: application/json"


class Range(NamedTuple):
    """Names from `start` on, before `end`; an empty text is no bound."""

    start: str = ""
    end: str = ""


def listing(pool: Pool, access: Access, prefix: str, expected: Sequence[str] = ()) -> list[Remote]:
    """The objects whose names start with `prefix`.

    A page names the next one, so pages come one after the other.  Where it is known which names to expect,
    the listing is cut into ranges of about a page, and these are asked for side by side.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: what names start with.
        expected: names, without the prefix, that are likely to be there.

    Raises:
        Failure: the bucket is not there, or may not be listed.

    """
    found: list[Remote] = []
    pool.run(listing_jobs(access, prefix, expected, found))
    return found


def listing_jobs(access: Access, prefix: str, expected: Sequence[str], found: list[Remote]) -> Iterator[Job]:
    """Jobs that add to `found` the objects whose names start with `prefix`, as `listing` does."""
    return (Job(_range(access, prefix, part, found)) for part in ranges(prefix, expected))


def ranges(prefix: str, expected: Sequence[str]) -> list[Range]:
    """Ranges that cover all names together, each with about as many of those expected."""
    count = min(MOST_RANGES, -(-len(expected) // FULL_RANGE))
    if count < 2:
        return [Range()]
    # Names are ordered by their UTF-8 bytes, which is how Python orders texts too.
    names = sorted(expected)
    cuts = [prefix + names[len(names) * number // count] for number in range(1, count)]
    return [Range(*ends) for ends in zip(["", *cuts], [*cuts, ""], strict=True)]


def _range(access: Access, prefix: str, part: Range, found: list[Remote]) -> Steps:
    token = ""
    while True:
        response = yield from ask(_page(access, prefix, part, token), access, access.deadline())
        if response.status != 200:
            raise refused(response, access, f"The bucket {access.bucket} could not be listed.")
        page = json.loads(response.body)
        found.extend(map(remote, page.get("items", ())))
        token = page.get("nextPageToken", "")
        if not token:
            return


def asked(pool: Pool, access: Access, request: Request, failed: str) -> Mapping[str, Any]:
    """The JSON answer to one request.

    Raises:
        Failure: there was no success; `failed` says what that means.

    """
    answers: list[bytes] = []

    def steps() -> Steps:
        response = yield from ask(request, access, access.deadline())
        if response.status != 200:
            raise refused(response, access, failed)
        answers.append(response.body)

    pool.run([Job(steps())])
    found: Mapping[str, Any] = json.loads(answers[0])
    return found


def remote(item: Mapping[str, Any]) -> Remote:
    """An object as the API describes it."""
    return Remote(
        item["name"],
        int(item.get("size", 0)),
        from_base64(item.get("crc32c", "AAAAAA==")),
        shared_headers(item.get("contentType", ""), item.get("cacheControl", "")),
        sys.intern(item.get("contentEncoding", "")),
        plain_of(item.get("metadata", {}).get(PLAIN_KEY, "")),
        int(item["generation"]),
    )


@lru_cache(4096)
def shared_headers(content_type: str, cache_control: str) -> Headers:
    """One object for all that are equal: a listing of 100,000 has a handful of them."""
    return Headers(content_type, cache_control)


def plain_note(plain: Plain) -> str:
    """What an object's metadata says of its unpacked content: `<CRC32C in hexadecimal> <size>`."""
    return f"{plain.crc32c:08x} {plain.size}"


def plain_of(note: str) -> Plain | None:
    """The content that a note tells of; None where there is none that can be read."""
    crc32c, _, size = note.partition(" ")
    try:
        return Plain(int(size), int(crc32c, 16))
    except ValueError:
        return None


def relabelled(access: Access, change: Relabel, done: Callable[[Relabel], None]) -> Job:
    """A job that gives an object other headers."""

    def steps() -> Steps:
        query = urlencode({"ifGenerationMatch": change.generation, "fields": "generation"})
        body = json.dumps(
            {
                "contentType": change.entry.headers.content_type,
                "cacheControl": change.entry.headers.cache_control,
            }
        )
        request = Request("PATCH", f"{access.object_url(change.name)}?{query}", (JSON,), body.encode())
        response = yield from ask(request, access, access.deadline())
        # 404: a pruning removed it.  The bucket is there: it was listed.
        if response.status in {404, 412}:
            raise changed_meanwhile(change.name)
        if response.status != 200:
            raise refused(response, access, f"The headers of {change.name} could not be changed.")
        done(change)

    return Job(steps())


def removed(
    access: Access, there: Remote, done: Callable[[str], None], changed: Callable[[str], None] | None = None
) -> Job:  # fmt: skip
    """A job that removes an object, provided it is still the one that was listed.

    Args:
        access: the bucket.
        there: the object.
        done: called with its name once it is gone.
        changed: called instead where somebody else wrote it since; without it, that is a Failure.

    """

    def steps() -> Steps:
        query = urlencode({"ifGenerationMatch": there.generation})
        request = Request("DELETE", f"{access.object_url(there.name)}?{query}")
        response = yield from ask(request, access, access.deadline())
        if response.status == 412 and changed:
            changed(there.name)
            return
        if response.status == 412:
            raise changed_meanwhile(there.name)
        # 404: an earlier attempt succeeded and its answer was lost, or somebody else was faster.
        if response.status not in {200, 204, 404}:
            raise refused(response, access, f"{there.name} could not be removed.")
        done(there.name)

    return Job(steps())


def ignore(*_told: object) -> None:
    """Count nothing of what is done: for who needs to know only that it is."""


class Changed(Failure):
    """An object is not as it was when the bucket was listed."""


def changed_meanwhile(name: str) -> Changed:
    """The error for an object that somebody else wrote."""
    return Changed(
        f"{name} was changed by somebody else during this upload.",
        "Its generation is no longer the one that was listed.",
        "Run the same command again once the other upload, or pruning, has ended.",
    )


def _page(access: Access, prefix: str, part: Range, token: str) -> Request:
    ends = {"startOffset": part.start, "endOffset": part.end, "pageToken": token}
    query = {
        "prefix": prefix,
        "maxResults": PAGE,
        "fields": f"items({FIELDS}),nextPageToken",
        **{key: value for key, value in ends.items() if value},
    }
    return Request("GET", f"{access.objects_url()}?{urlencode(query)}")
