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
        url: the address.
        entry: the file.
        headers: what it is served with.
        origin: of the page that asks and may read the answer; empty where none may, or need not.
    """

    url: str
    entry: Entry
    headers: Sequence[tuple[str, str]]
    origin: str = ""


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
    found = problems(place, name, entries, page, origin_of(cors), site)
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


def problems(
    place: Place, name: str, entries: Sequence[Entry], page: activation.Page, origin: str, site: str = ""
) -> list[str]:  # fmt: skip
    """Everything that is wrong with a revision; empty when it is sound."""
    kept = place.kept(name)
    there = listing.below(place.pool, place.access, place.prefix, [kept(entry) for entry in entries])
    found = list(_stored(place, name, entries, there))
    expected = list(_expected_of_bucket(place, {kept(entry): entry for entry in entries}, there, origin))
    if page.name == name:
        active = Complete(entries, there)
        others = activation.strays(place, name, active)
        found += [f"{other}: it {activation.STRAY}" for other in others]
        if not others and not activation.is_served(place, name, active, page):
            found.append(f"{place.url}: {OTHER_BYTES}")
        own = {place.live(entry): entry for entry in entries if not entry.shared}
        expected += [
            *_expected_of_bucket(place, own, there, origin),
            *_expected_of_site(place, entries, site),
        ]
    answers = place.pool.run(
        Job(_asked(place, one), min(one.entry.size, LARGEST_TO_READ)) for one in expected
    )
    return [*found, *(problem for answer in answers for problem in answer)]


def _stored(place: Place, name: str, entries: Sequence[Entry], there: Mapping[str, Remote]) -> Iterator[str]:
    """What is wrong with a revision's objects."""
    decided = plan(entries, place.kept(name), there)
    yield from (f"{one.name}: it is missing, or its content differs." for one in decided.send)
    yield from (f"{one.name}: its headers differ." for one in decided.relabel)


def _expected_of_bucket(
    place: Place, names: Mapping[str, Entry], there: Mapping[str, Remote], origin: str
) -> Iterator[Expected]:  # fmt: skip
    for name, entry in names.items():
        headers = (
            ("Content-Type", entry.headers.content_type),
            ("Cache-Control", entry.headers.cache_control),
            ("Content-Encoding", there[name].encoding if name in there else ""),
        )
        yield Expected(place.access.public_url(name), entry, headers, origin)


def _expected_of_site(place: Place, entries: Sequence[Entry], site: str) -> Iterator[Expected]:
    """What visitors should be answered by the site, which may pack and cache otherwise than the bucket."""
    for entry in entries if site and place.served_at else ():
        path = "" if entry.path == INDEX else entry.path
        url = f"{site.rstrip('/')}{place.served_at}{quote(path)}"
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
