"""The headers that a file is stored with, so that Cloud Storage serves it with them."""

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TypeVar

from tasks.lib.settings.ember import HeaderRule

UNKNOWN_TYPE = "application/octet-stream"
# What Python's own table lacks, or names otherwise in one version than in another.
TYPES = {
    ".avif": "image/avif",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".ttf": "font/ttf",
    ".vtt": "text/vtt",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Headers:
    """Content-Type and Cache-Control of an object; an empty text stands for none."""

    content_type: str
    cache_control: str = ""


class Rules:
    """The rules of ember.headers, ready to be asked."""

    def __init__(self, rules: Sequence[HeaderRule]) -> None:
        self._rules = [(re.compile(rule.path), rule) for rule in rules]
        # Thousands of files share a handful of headers: one object for all that are equal.
        self._shared: dict[Headers, Headers] = {}

    def headers(self, path: str) -> Headers:
        """What `path`, relative to the app, is served with."""
        matching = self._matching(path)
        content_type = _first([rule.content_type for rule in matching], "") or type_of_suffix(path)
        found = Headers(content_type, _first([rule.cache_control for rule in matching], ""))
        return self._shared.setdefault(found, found)

    def may_gzip(self, path: str) -> bool:
        """Whether `path` is to be stored compressed where that is smaller."""
        return _first([rule.gzip for rule in self._matching(path)], False)

    def _matching(self, path: str) -> list[HeaderRule]:
        return [rule for pattern, rule in self._rules if pattern.fullmatch(path)]


def type_of_suffix(path: str) -> str:
    """The content type that a name's suffix stands for, the same on every machine; texts are UTF-8."""
    suffix = PurePosixPath(path).suffix.lower()
    found = TYPES.get(suffix) or _table().types_map[True].get(suffix, UNKNOWN_TYPE)
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


@cache
def _table() -> mimetypes.MimeTypes:
    """Python's own table, without what this machine's /etc/mime.types adds."""
    return mimetypes.MimeTypes()


def _first(values: Sequence[Value | None], otherwise: Value) -> Value:
    return next((value for value in values if value is not None), otherwise)
