"""Listing a bucket: in pages, in ranges side by side, and begun before it is known what to expect."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from threading import Event
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlencode

from msgspec import Struct, field

from tasks.lib.ember.access import Access
from tasks.lib.ember.persistence import answer, ask, refused
from tasks.lib.ember.question import Question
from tasks.lib.ember.remote import FIELDS, Item, Remote, remote_of
from tasks.lib.ember.wire import Job, Pause, Pool, Request, Response, Steps

PAGE = 1000
# So many names in one range of a listing, somewhat less than a page, since the bucket may hold others too.
FULL_RANGE = 900
# More ranges than that at once take memory and gain little.
MOST_RANGES = 16


class Page(Struct, rename="camel"):
    """What the JSON API answers to a listing."""

    items: list[Item] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next_page_token: str = ""


class Range(NamedTuple):
    """Names from `start` on, before `end`; an empty text is no bound."""

    start: str = ""
    end: str = ""


def whole(pool: Pool, access: Access, prefix: str, expected: Sequence[str] = ()) -> list[Remote]:
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
    pool.run(jobs(access, prefix, expected, found))
    return found


def jobs(access: Access, prefix: str, expected: Sequence[str], found: list[Remote]) -> Iterator[Job]:
    """Jobs that add to `found` the objects whose names start with `prefix`, as `whole` does."""
    return (Job(_pages(access, prefix, part, found)) for part in ranges(prefix, expected))


def pages(pool: Pool, access: Access, query: Mapping[str, str]) -> Iterator[Page]:
    """The pages of another listing of the bucket, one after the other.

    Args:
        pool: sends the requests.
        access: the bucket.
        query: parameters of the JSON API, such as prefix and delimiter.

    Raises:
        Failure: the bucket is not there, or may not be listed.

    """
    found: list[Page] = []

    def next_one(token: str) -> Steps:
        found.append((yield from _asked(access, {**query, "pageToken": token})))

    token = ""
    while token or not found:
        pool.run([Job(next_one(token))])
        yield found[-1]
        token = found[-1].next_page_token


class Listing(Question[list[Remote]]):
    """As `whole`, asked for from the moment this is made; of what to expect it is told later.

    One page is asked for at once.  Where there are more, they wait for `expect`, which lets them be asked for
    side by side.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: what names start with.

    """

    def __init__(self, pool: Pool, access: Access, prefix: str) -> None:
        self._expected: Sequence[str] = ()
        self._told = Event()
        super().__init__(pool, lambda: self._listed(pool, access, prefix))

    def expect(self, paths: Sequence[str]) -> None:
        """Names, without the prefix, that are likely to be there; there may be none."""
        self._expected = paths
        self._told.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """End it, where it is not waited for any more."""
        self._told.set()
        super().__exit__(kind, error, at)

    def _listed(self, pool: Pool, access: Access, prefix: str) -> list[Remote]:
        found: list[Remote] = []
        tokens: list[str] = []

        def first() -> Steps:
            tokens.append((yield from _page(access, prefix, Range(), found, "")))

        pool.run([Job(first())])
        if tokens[0]:
            self._told.wait()
            pool.run(_rest(access, prefix, self._expected, found, tokens[0]))
        return found


def _rest(access: Access, prefix: str, expected: Sequence[str], found: list[Remote], token: str) -> list[Job]:
    """Jobs that add to `found` what comes after it, by names where enough are expected, else by `token`."""
    last = found[-1].name if found else ""
    parts = ranges(prefix, [path for path in expected if prefix + path > last], last)
    if len(parts) == 1:
        return [Job(_pages(access, prefix, Range(), found, token))]
    del found[-1:]  # the next range begins with it
    return [Job(_pages(access, prefix, part, found)) for part in parts]


def ranges(prefix: str, expected: Sequence[str], start: str = "") -> list[Range]:
    """Ranges that cover all names from `start` on together, each with about as many of those expected."""
    count = min(MOST_RANGES, -(-len(expected) // FULL_RANGE))
    if count < 2:
        return [Range(start)]
    # Names are ordered by their UTF-8 bytes, which is how Python orders texts too.
    names = sorted(expected)
    cuts = [prefix + names[len(names) * number // count] for number in range(1, count)]
    return [Range(*ends) for ends in zip([start, *cuts], [*cuts, ""], strict=True)]


def _pages(access: Access, prefix: str, part: Range, found: list[Remote], token: str = "") -> Steps:
    """List a range, or what of it comes after the page that gave `token`."""
    while True:
        token = yield from _page(access, prefix, part, found, token)
        if not token:
            return


def _page(
    access: Access, prefix: str, part: Range, found: list[Remote], token: str
) -> Generator[Request | Pause, Response | None, str]:
    """Add a page to `found`, and return the next one's token, or an empty text."""
    fields = f"items({FIELDS}),nextPageToken"
    ends = {"startOffset": part.start, "endOffset": part.end, "pageToken": token}
    page = yield from _asked(access, {"prefix": prefix, "fields": fields, **ends})
    found.extend(map(remote_of, page.items))
    return page.next_page_token


def _asked(access: Access, query: Mapping[str, str]) -> Generator[Request | Pause, Response | None, Page]:
    asked = {"maxResults": str(PAGE), **{key: value for key, value in query.items() if value}}
    request = Request("GET", f"{access.objects_url()}?{urlencode(asked)}")
    response = yield from ask(request, access, access.deadline())
    if response.status != 200:
        raise refused(response, access, f"The bucket {access.bucket} could not be listed.")
    return answer(response, Page)
