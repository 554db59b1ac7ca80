"""One file of an app, wherever its bytes are."""

from msgspec import Struct

from tasks.lib.ember.headers import Headers

INDEX = "index.html"


class Entry(Struct, frozen=True):
    """One file of an app.

    Args:
        path: relative to the app.
        digest: their SHA-256; empty where nobody worked it out.
        compressible: whether it is stored compressed where that is smaller.
        shared: whether its name carries its content's hash, so that revisions share it.
    """

    path: str
    size: int
    crc32c: int
    digest: bytes
    headers: Headers
    compressible: bool
    shared: bool = False
