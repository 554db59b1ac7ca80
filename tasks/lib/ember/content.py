"""A file's bytes as they are stored: compressed where that is smaller, with their CRC32C."""

import base64
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from msgspec import Struct

from tasks.lib import signals

PIECE = 1 << 20
# Compressed whole, in memory; larger files are stored as they are.
LARGEST_TO_COMPRESS = 16 << 20
GZIP = "gzip"
GZIP_CONTAINER = 31
GZIP_BEGINS = b"\x1f\x8b\x08"


class Stored(Struct, frozen=True):
    """What is stored of one file; `encoding` is `gzip`, or an empty text."""

    data: bytes
    crc32c: int
    encoding: str


def compress(data: bytes) -> bytes:
    """Gzip without name and time, so that the same content gives the same bytes."""
    return zlib.compress(data, 6, GZIP_CONTAINER)


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of `file`, at most a mebibyte at a time."""
    while piece := file.read(PIECE):
        signals.check()
        yield piece


def stored(data: bytes, compressible: bool) -> Stored:
    """What is stored of `data`: compressed only where it may be and that is smaller."""
    from google_crc32c import value

    packed = compress(data) if compressible and len(data) <= LARGEST_TO_COMPRESS else data
    if len(packed) < len(data):
        return Stored(packed, value(packed), GZIP)
    return Stored(data, value(data), "")


def unpacked(data: bytes, encoding: str) -> bytes:
    """The content of bytes that are stored, or served, in `encoding`."""
    return zlib.decompress(data, GZIP_CONTAINER) if encoding == GZIP else data


def is_gzip(data: bytes) -> bool:
    """Whether data begins as gzip does."""
    return data.startswith(GZIP_BEGINS)


def extended(crc32c: int, data: bytes) -> int:
    """The CRC32C of what has the CRC32C `crc32c`, and `data` after it."""
    from google_crc32c import extend

    return int(extend(crc32c, data))


def checksum(parts: Iterable[bytes]) -> int:
    """The CRC32C of all parts together."""
    from google_crc32c import extend

    crc32c = 0
    for part in parts:
        crc32c = extend(crc32c, part)
    return int(crc32c)


def as_base64(crc32c: int) -> str:
    """A CRC32C as Cloud Storage writes it: base64 of its four bytes, the highest first."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()


def from_base64(crc32c: str) -> int:
    """The CRC32C that Cloud Storage wrote."""
    return int.from_bytes(base64.b64decode(crc32c), "big")
