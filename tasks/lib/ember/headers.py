"""The headers that a file is stored with, so that Cloud Storage serves it with them."""

import mimetypes
import posixpath
import re
from collections.abc import Sequence
from functools import cache

from msgspec import Struct

from tasks.lib.settings.ember import HeaderRule

UNKNOWN_TYPE = "application/octet-stream"
# What gzip may be served as without an encoding; a browser takes any other type for what it says.
PACKED_TYPES = frozenset({UNKNOWN_TYPE, "application/gzip", "application/x-gzip", "application/x-tar"})
# What Python's own table lacks, or names otherwise in one version than in another.
TYPES = {
    ".avif": "image/avif",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".ttf": "font/ttf",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}


class Headers(Struct, frozen=True):
    """Content-Type and Cache-Control of an object; an empty text stands for none."""

    content_type: str
    cache_control: str = ""


def may_be_gzip(content_type: str) -> bool:
    """Whether what is served as this type may be gzip itself."""
    return content_type.partition(";")[0].strip().lower() in PACKED_TYPES


class Rules:
    """The rules of ember.headers and ember.fingerprints, ready to be asked."""

    def __init__(self, rules: Sequence[HeaderRule], fingerprints: Sequence[str]) -> None:
        self._fingerprints = [re.compile(pattern).fullmatch for pattern in fingerprints]
        self._rules = [(re.compile(rule.path).fullmatch, rule) for rule in rules]
        # Thousands of files share a handful of headers: one object for all that are equal.
        self._shared: dict[Headers, Headers] = {}

    def is_fingerprinted(self, path: str) -> bool:
        """Whether a file's name carries its content's hash; never that of a page."""
        return not path.endswith(".html") and any(matches(path) for matches in self._fingerprints)

    def of(self, path: str) -> tuple[Headers, bool]:
        """What `path`, relative to the app, is served with; whether it is compressed if that is smaller."""
        content_type = cache_control = gzip = None
        is_fingerprinted = self.is_fingerprinted(path)
        for matches, rule in self._rules:
            if matches(path) and (is_fingerprinted or not rule.fingerprinted):
                content_type = rule.content_type if content_type is None else content_type
                cache_control = rule.cache_control if cache_control is None else cache_control
                gzip = rule.gzip if gzip is None else gzip
        found = Headers(content_type or type_of_suffix(path), cache_control or "")
        return self._shared.setdefault(found, found), bool(gzip)


def type_of_suffix(path: str) -> str:
    """The content type that a name's suffix stands for, the same on every machine; texts are UTF-8."""
    return _type_of(posixpath.splitext(path)[1].lower())


@cache
def _type_of(suffix: str) -> str:
    found = TYPES.get(suffix) or _table().types_map[True].get(suffix, UNKNOWN_TYPE)
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


@cache
def _table() -> mimetypes.MimeTypes:
    """Python's own table, without what this machine's /etc/mime.types adds."""
    return mimetypes.MimeTypes()
