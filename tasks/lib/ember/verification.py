"""Whether a revision is there whole, and whether the public is served it as it should be."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct

from tasks.lib.ember import activation, content, listing, revisions
from tasks.lib.ember.activation import Complete, served
from tasks.lib.ember.answers import ask, said
from tasks.lib.ember.entry import INDEX, Entry
from tasks.lib.ember.headers import may_be_gzip
from tasks.lib.ember.http import Job, Request, Response, Steps
from tasks.lib.ember.objects import Remote
from tasks.lib.ember.place import Place
from tasks.lib.ember.plan import plan
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Cors

# Larger files are asked for with HEAD: their bytes were checked when they were stored.
LARGEST_TO_READ = 8 << 20
OTHER_BYTES = "the bytes served are not the ones of the revision."
UNREADABLE = "it is gzip, and no browser unpacks what is served as {}."
# Who asks where everybody may.
ORIGIN = "https://lookit.invalid"


class Expected(Struct, frozen=True):
    """What the public should be answered at an address.

    Args:
        origin: of the page that asks and may read the answer; empty where none may, or need not.
    """

    url: str
    entry: Entry
    headers: Sequence[tuple[str, str]]
    origin: str = ""


class _Examined(Struct, frozen=True):
    """A revision, what the bucket holds, who asks for its files, and where the site is."""

    place: Place
    name: str
    entries: Sequence[Entry]
    there: Mapping[str, Remote]
    origin: str
    site: str


def verify(place: Place, asked: str, cors: Sequence[Cors], site: str = "") -> str:
    """Examine the revision that `asked` names or begins, else the active one; says that it is sound.

    What is active is asked for at the address `site`, too, where there is one.

    Raises:
        Failure: it is not; all that is wrong is listed.

    """
    page, listed = served(place), revisions.listed(place)
    if not (asked or page.name):
        raise Failure(
            f"No revision is active at {place.prefix}.",
            "Nothing was uploaded there by this tool.",
            "See `./inv ember.list`; name a revision with --revision.",
        )
    name = revisions.known(listed.revisions, asked) if asked else page.name
    entries = revisions.entries_of(place, [name]).get(name)
    if entries is None:
        raise revisions.gone(name, f"{place.manifest(name)} is missing.")
    kept = place.kept(name)
    there = listing.below(place.pool, place.access, place.prefix, [kept(entry) for entry in entries])
    found = _problems(_Examined(place, name, entries, there, origin_of(cors), site), page)
    if found:
        raise Failure(
            f"Revision {name} is not as it should be.",
            "\n".join(f"- {problem}" for problem in found),
            _fix(found, name),
        )
    return f"Revision {name} is complete, and served as it should be."


def origin_of(cors: Sequence[Cors]) -> str:
    """The origin of a page that may read the bucket by its configuration; empty where none may."""
    origins = [origin for rule in cors for origin in rule.origin]
    return ORIGIN if "*" in origins else next(iter(origins), "")


def _problems(one: _Examined, page: activation.Page) -> list[str]:
    """Everything that is wrong with a revision; empty when it is sound."""
    kept, place = one.place.kept(one.name), one.place
    found = list(_stored(one))
    expected = list(_expected_of_bucket(one, {kept(entry): entry for entry in one.entries}))
    if page.name == one.name:
        found += _served(one, page)
        own = {place.live(entry): entry for entry in one.entries if not entry.shared}
        expected += [*_expected_of_bucket(one, own), *_expected_of_site(one)]
    answers = place.pool.run(
        Job(_asked(place, each), min(each.entry.size, LARGEST_TO_READ)) for each in expected
    )
    return [*found, *(problem for answer in answers for problem in answer)]


def _stored(one: _Examined) -> Iterator[str]:
    """What is wrong with a revision's objects."""
    decided = plan(one.entries, one.place.kept(one.name), one.there)
    yield from (f"{send.name}: it is missing, or its content differs." for send in decided.send)
    yield from (f"{change.name}: its headers differ." for change in decided.relabel)


def _served(one: _Examined, page: activation.Page) -> list[str]:
    """What visitors find that is not the active revision's."""
    active = Complete(one.entries, one.there)
    strays = activation.strays(one.place, one.name, active)
    if not strays and not activation.is_served(one.place, one.name, active, page):
        return [f"{one.place.url}: {OTHER_BYTES}"]
    return [f"{name}: it {activation.STRAY}" for name in strays]


def _expected_of_bucket(one: _Examined, names: Mapping[str, Entry]) -> Iterator[Expected]:
    for name, entry in names.items():
        headers = (
            ("Content-Type", entry.headers.content_type),
            ("Cache-Control", entry.headers.cache_control),
            ("Content-Encoding", one.there[name].encoding if name in one.there else ""),
        )
        yield Expected(one.place.access.public_url(name), entry, headers, one.origin)


def _expected_of_site(one: _Examined) -> Iterator[Expected]:
    """What visitors should be answered by the site, which may pack and cache otherwise than the bucket."""
    for entry in one.entries if one.site and one.place.served_at else ():
        path = "" if entry.path == INDEX else entry.path
        url = f"{one.site.rstrip('/')}{one.place.served_at}{quote(path)}"
        yield Expected(url, entry, [("Content-Type", entry.headers.content_type)])


def _asked(place: Place, expected: Expected) -> Steps[list[str]]:
    """Ask for an object as a browser would from a page elsewhere; what is wrong with the answer."""
    method = "GET" if expected.entry.size <= LARGEST_TO_READ else "HEAD"
    headers = ("Accept-Encoding: gzip", *([f"Origin: {expected.origin}"] if expected.origin else []))
    response = yield from ask(place.access, Request(method, expected.url, headers, public=True))
    return [f"{expected.url}: {problem}" for problem in answer_problems(response, expected, method)]


def answer_problems(response: Response, expected: Expected, method: str) -> Iterator[str]:
    """What is wrong with a public answer; to HEAD there is no body."""
    if response.status != 200:
        yield f"the public is answered {said(response)}."
        return
    for header, value in expected.headers:
        if response.header(header) != value:
            yield f"{header} is {response.header(header)!r}, but should be {value!r}."
    origin = expected.origin
    if origin and response.header("access-control-allow-origin") not in {"*", origin}:
        asking_pages = "pages of other origins" if origin == ORIGIN else f"pages of {origin}"
        yield f"{asking_pages} may not read it: `./inv ember.bucket --apply` configures CORS."
    if method == "GET":
        yield from _content_problems(response, expected.entry)


def _content_problems(response: Response, entry: Entry) -> Iterator[str]:
    """What is wrong with the bytes that were served, once a browser has unpacked them."""
    try:
        read = content.unpacked(response.body, response.header("content-encoding"))
    except zlib.error:
        yield OTHER_BYTES
        return
    content_type = response.header("content-type")
    if content.checksum([read]) != entry.crc32c:
        yield OTHER_BYTES
    elif content.is_gzip(read) and not may_be_gzip(content_type):
        yield UNREADABLE.format(content_type)


def _fix(problems: Sequence[str], name: str) -> str:
    """What to do about what is wrong with a revision."""
    if any(UNREADABLE.partition("{")[0] in problem for problem in problems):
        return (
            "Build the app without a plugin that compresses files under their own names, and upload it again."
        )
    return f"Upload its archive again, then `./inv ember.activate {name}`: what differs is written."
