"""Whether a revision is there whole, and whether the public is served it as it should be."""

import zlib
from collections.abc import Iterator, Sequence

from tasks.lib.ember import activation, content, listing, page, reading, revision, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.headers import may_be_gzip
from tasks.lib.ember.inspection import Entry
from tasks.lib.ember.persistence import ask, said
from tasks.lib.ember.plan import plan
from tasks.lib.ember.survey import INDEX
from tasks.lib.ember.wire import Job, Pool, Request, Response, Steps
from tasks.lib.settings.ember import Cors

# Larger files are asked for with HEAD: their bytes were checked when they were stored.
LARGEST_TO_READ = 8 << 20
STRAY = "no manifest names it."
OTHER_BYTES = "the bytes served are not the ones of the revision."
UNREADABLE = "it is gzip, and no browser unpacks what is served as {}."
# Who asks where everybody may.
ORIGIN = "https://lookit.invalid"


def asking(cors: Sequence[Cors]) -> str:
    """The origin of a page that may read the bucket by its configuration; empty where none may."""
    origins = [origin for rule in cors for origin in rule.origin]
    return ORIGIN if "*" in origins else next(iter(origins), "")


def verify(pool: Pool, access: Access, prefix: str, name: str, origin: str = ORIGIN) -> list[str]:
    """Everything that is wrong with a revision; empty when it is sound.

    Args:
        pool: sends the requests.
        access: the bucket.
        prefix: where the revisions lie, with its slash.
        name: a complete revision.
        origin: of the page that asks and may read what it is answered; empty where none may.

    """
    where = revision.folder(prefix, name)
    entries = revisions.entries_in(pool, access, prefix, name)
    there = listing.whole(pool, access, where, [entry.path for entry in entries])
    decided = plan(entries, where, there)
    lost = [one.name for one in (*decided.send, *decided.last)]
    faults = [f"{one}: it is missing, or its content differs." for one in lost]
    faults += [f"{one.name}: its headers differ." for one in decided.relabel]
    faults += [f"{one.name}: {STRAY}" for one in decided.extra]
    encodings = {one.name: one.encoding for one in there}
    pool.run(
        _served(access, where + entry.path, entry, encodings.get(where + entry.path, ""), origin, faults)
        for entry in entries
    )
    # The page that is served is made of the revision's own, which has to be there for that.
    if activation.active(pool, access, prefix).name == name and where + INDEX not in lost:
        pool.run([_page(pool, access, prefix, name, origin, faults)])
    return faults


def mending(faults: Sequence[str], name: str, url: str) -> str:
    """What to do about what is wrong with revision `name`, whose page is served at `url`."""
    if f"{url}: {OTHER_BYTES}" in faults and all(fault.startswith(f"{url}: ") for fault in faults):
        return f"`./inv ember.activate {name}` writes the page anew."
    packed = UNREADABLE.partition("{")[0]
    if any(packed in fault for fault in faults):
        return (
            "Build the app without a plugin that compresses files under their own names, and upload it again."
        )
    strays = sum(fault.endswith(STRAY) for fault in faults)
    if strays == len(faults):
        return "Upload its archive again with --delete-extra: it removes what no manifest names."
    also = " With --delete-extra what no manifest names goes." if strays else ""
    return f"Upload its archive again: what differs is sent and mended.{also}"


def _page(pool: Pool, access: Access, prefix: str, name: str, origin: str, faults: list[str]) -> Job:
    """A job that asks for the page that visitors load, as `_served` does."""
    index = reading.fetched(pool, access, revision.folder(prefix, name) + INDEX)
    data = page.of_revision(index, name)
    entry = revisions.made(INDEX, data, activation.PAGE_HEADERS)
    encoding = content.stored(data, entry.compressible).encoding
    return _served(access, prefix + INDEX, entry, encoding, origin, faults)


def _served(
    access: Access, name: str, entry: Entry, encoding: str, origin: str, faults: list[str]
) -> Job:  # fmt: skip
    """A job that asks for an object, stored in `encoding`, as a browser would from a page elsewhere."""

    def steps() -> Steps:
        url = access.public_url(name)
        method = "GET" if entry.size <= LARGEST_TO_READ else "HEAD"
        headers = ("Accept-Encoding: gzip", *([f"Origin: {origin}"] if origin else []))
        response = yield from ask(Request(method, url, headers, public=True), access, access.deadline())
        faults.extend(f"{url}: {fault}" for fault in served_faults(response, entry, encoding, method, origin))

    return Job(steps(), held=min(entry.size, LARGEST_TO_READ))


def served_faults(
    response: Response, entry: Entry, encoding: str, method: str, origin: str = ORIGIN
) -> Iterator[str]:
    """What is wrong with a public answer.

    Args:
        response: the answer.
        entry: what the object should be.
        encoding: what it is stored in, and has to be served in to who accepts that.
        method: how it was asked for; to HEAD there is no body.
        origin: of the page that asked; empty where none may read it.

    """
    if response.status != 200:
        yield f"the public is answered {said(response)}."
        return
    expected: Sequence[tuple[str, str]] = (
        ("Content-Type", entry.headers.content_type),
        ("Cache-Control", entry.headers.cache_control),
        ("Content-Encoding", encoding),
    )
    for header, value in expected:
        if response.header(header) != value:
            yield f"{header} is {response.header(header)!r}, but should be {value!r}."
    if origin and response.header("access-control-allow-origin") not in {"*", origin}:
        asking_pages = "pages of other origins" if origin == ORIGIN else f"pages of {origin}"
        yield f"{asking_pages} may not read it: `./inv ember.bucket --apply` configures CORS."
    if method == "GET":
        yield from _content_faults(response, entry)


def _content_faults(response: Response, entry: Entry) -> Iterator[str]:
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
