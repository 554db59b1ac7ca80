"""Objects of a bucket: what the JSON API says of them, read, copied, given other headers and removed."""

import json
import sys
import zlib
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct, field

from tasks.lib.ember import content
from tasks.lib.ember.access import Access
from tasks.lib.ember.answers import answer, ask, not_its_own, refused
from tasks.lib.ember.headers import Headers
from tasks.lib.ember.http import Request, Steps
from tasks.lib.errors import Failure

# The generation of an object that is not there.
ABSENT = 0
# What the API is asked to say of each.
FIELDS = "name,size,crc32c,contentType,cacheControl,contentEncoding,generation,metadata"
# The key of an object's own metadata that holds what this tool noted of the unpacked content.
PLAIN_KEY = "lookit-plain"
JSON = "Content-Type: application/json"


class Plain(Struct, frozen=True):
    """What an object holds once it is unpacked: size in bytes and CRC32C."""

    size: int
    crc32c: int


class Remote(Struct, frozen=True):
    """An object as the bucket lists it.

    Args:
        size: the bytes stored.
        encoding: `gzip`, or an empty text.
        plain: what this tool noted of its content when it wrote the object; None where another wrote it.
    """

    name: str
    size: int
    crc32c: int
    headers: Headers
    encoding: str
    plain: Plain | None
    generation: int


class Item(Struct, rename="camel"):
    """What the JSON API says of an object, as far as it was asked to.

    https://cloud.google.com/storage/docs/json_api/v1/objects#resource
    """

    name: str
    generation: str
    size: str = "0"
    crc32c: str = "AAAAAA=="
    content_type: str = ""
    cache_control: str = ""
    content_encoding: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    time_created: str = ""


class Rewritten(Struct, rename="camel"):
    """What the JSON API answers to a copy: the object, or what a further request goes on with."""

    rewrite_token: str = ""
    resource: Item | None = None


class Changed(Failure):
    """An object is not as it was when the bucket was listed."""


def changed(name: str) -> Changed:
    """The error for an object that somebody else wrote."""
    return Changed(
        f"{name} was changed by somebody else meanwhile.",
        "Its generation is not the one that was listed.",
        "Run the same command again once the other upload, or pruning, has ended.",
    )


def remote_of(item: Item) -> Remote:
    """An object as the API describes it."""
    return Remote(
        item.name,
        int(item.size),
        content.from_base64(item.crc32c),
        shared_headers(item.content_type, item.cache_control),
        sys.intern(item.content_encoding),
        plain_of(item.metadata.get(PLAIN_KEY, "")),
        int(item.generation),
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


def look_up(access: Access, name: str) -> Steps[Item | None]:
    """What the API says of an object; None where there is none."""
    request = Request("GET", f"{access.object_url(name)}?fields={FIELDS},timeCreated")
    response = yield from ask(access, request)
    if response.status == 404:
        return None
    if response.status != 200:
        raise refused(response, access, f"{name} could not be looked up.")
    return answer(response, Item)


def fetch(access: Access, name: str) -> Steps[bytes | None]:
    """The content of a small object, unpacked; None where there is none."""
    request = Request("GET", f"{access.object_url(name)}?alt=media", ("Accept-Encoding: gzip",))
    response = yield from ask(access, request)
    if response.status == 404:
        return None
    if response.status != 200:
        raise refused(response, access, f"{name} could not be read.")
    try:
        return content.unpacked(response.body, response.header("content-encoding"))
    except zlib.error as error:
        raise Failure(f"{name} arrived damaged.", str(error), "Run the same command again.") from error


def copy(access: Access, source: str, name: str, generation: int) -> Steps[Remote | None]:
    """Copy `source` over `name` of a generation, within the bucket; what is there then.

    None where nothing was copied: there is no such source, or `name` has another generation.
    """
    target = f"b/{access.bucket}/o/{quote(name, safe='')}"
    query = f"ifGenerationMatch={generation}&fields=done,rewriteToken,resource({FIELDS})"
    url = f"{access.object_url(source)}/rewriteTo/{target}?{query}"
    token = ""
    while True:
        response = yield from ask(access, Request("POST", url + token))
        if response.status in {404, 412}:
            return None
        if response.status != 200:
            raise refused(response, access, f"{name} could not be copied from {source}.")
        rewritten = answer(response, Rewritten)
        if rewritten.resource:
            return remote_of(rewritten.resource)
        if not rewritten.rewrite_token:
            raise not_its_own(response)
        token = f"&rewriteToken={quote(rewritten.rewrite_token, safe='')}"


def relabel(access: Access, name: str, generation: int, headers: Headers) -> Steps[None]:
    """Give an object of a generation other headers.

    Raises:
        Changed: it has another generation, or is gone.

    """
    url = f"{access.object_url(name)}?ifGenerationMatch={generation}&fields=generation"
    body: Mapping[str, str] = {
        "contentType": headers.content_type,
        "cacheControl": headers.cache_control,
    }
    request = Request("PATCH", url, (JSON,), json.dumps(body).encode())
    response = yield from ask(access, request)
    if response.status in {404, 412}:
        raise changed(name)
    if response.status != 200:
        raise refused(response, access, f"The headers of {name} could not be changed.")


def remove(access: Access, name: str, generation: int) -> Steps[bool]:
    """Remove an object of a generation; False where somebody else wrote it since.

    One that is gone already was removed too: by an attempt whose answer was lost, or by somebody else.
    """
    request = Request("DELETE", f"{access.object_url(name)}?ifGenerationMatch={generation}")
    response = yield from ask(access, request)
    if response.status not in {200, 204, 404, 412}:
        raise refused(response, access, f"{name} could not be removed.")
    return response.status != 412
