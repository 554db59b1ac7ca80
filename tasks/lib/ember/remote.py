"""An object as the bucket lists it."""

import sys
from functools import lru_cache

from msgspec import Struct, field

from tasks.lib.ember.content import from_base64
from tasks.lib.ember.headers import Headers

# The generation of an object that is not there.
ABSENT = 0
# What the API is asked to say of each.
FIELDS = "name,size,crc32c,contentType,cacheControl,contentEncoding,generation,metadata"
# The key of an object's own metadata that holds what this tool noted of the unpacked content.
PLAIN_KEY = "lookit-plain"


class Plain(Struct, frozen=True):
    """What an object holds once it is unpacked: size in bytes and CRC32C."""

    size: int
    crc32c: int


class Remote(Struct, frozen=True):
    """An object as the bucket lists it.

    Args:
        name: the whole name.
        size: the bytes stored.
        crc32c: their checksum.
        headers: what it is served with.
        encoding: `gzip`, or an empty text.
        plain: what this tool noted of its content when it wrote the object; None where another wrote it.
        generation: changes with every write.
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


def remote_of(item: Item) -> Remote:
    """An object as the API describes it."""
    return Remote(
        item.name,
        int(item.size),
        from_base64(item.crc32c),
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
