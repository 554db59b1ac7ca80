"""What an app's index.html loads: whether each address leads to a file of the app, and to the right one."""

import base64
import posixpath
from collections.abc import Callable, Collection, Iterator
from hashlib import new
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

LOADING = {"link": "href", **dict.fromkeys(("script", "img", "source", "audio", "video", "iframe"), "src")}
# Of links those that a browser loads by itself.
LOADED_LINKS = frozenset({"stylesheet", "icon", "manifest", "modulepreload", "preload", "prefetch"})
# https://www.w3.org/TR/SRI/#the-integrity-attribute, the strongest last.
HASHES = ("sha256", "sha384", "sha512")
# Where a page lies of which nobody said where it is served.
SOMEWHERE = "/-/"


class Loaded(NamedTuple):
    """Something that a page loads, and the hashes that the page demands of it."""

    address: str
    integrity: str


def problems(
    index: bytes, paths: Collection[str], served_at: str, read: Callable[[str], bytes]
) -> Iterator[str]:  # fmt: skip
    """What keeps a browser from loading what a page refers to.

    Without `served_at`, addresses that begin with a slash may lead anywhere.
    """
    for one, path in _of_this_host(index, served_at):
        if path is None:
            yield f"it loads {one.address}, which is not below {served_at}, where the site serves the app"
        elif path not in paths:
            yield f"it loads {one.address}, which the app does not have"
        elif one.integrity and not _is_intact(read(path), one.integrity):
            yield f"it loads {one.address} with an integrity hash that is not the file's"


def lacking(index: bytes, paths: Collection[str], served_at: str) -> list[str]:
    """The files of the app that a page loads, and that are not among `paths`."""
    found = (path for _, path in _of_this_host(index, served_at) if path is not None)
    return [path for path in dict.fromkeys(found) if path not in paths]


def _of_this_host(index: bytes, served_at: str) -> Iterator[tuple[Loaded, str | None]]:
    """What a page loads from its own host, each with the app's file that it leads to; None for none."""
    root = served_at or SOMEWHERE
    base, loads = loaded(index)
    for one in loads:
        try:
            found = urlsplit(urljoin(urljoin(root, base), one.address))
        except ValueError:
            continue  # an address that leads nowhere, such as http://[
        if found.scheme or found.netloc:
            continue  # another host
        where = posixpath.normpath(found.path)
        if where.startswith(root):
            yield one, unquote(where.removeprefix(root))
        elif served_at:
            yield one, None


def loaded(index: bytes) -> tuple[str, list[Loaded]]:
    """The base of a page's addresses, and what it loads, each once."""
    reader = _Reader()
    reader.feed(index.decode(errors="replace"))
    return reader.base or "", list(dict.fromkeys(reader.loads))


def _is_intact(data: bytes, integrity: str) -> bool:
    """Whether one of the hashes of the strongest kind is the content's, as browsers judge it."""
    hashes = [one.partition("?")[0].partition("-") for one in integrity.split()]
    for kind in reversed(HASHES):
        if wanted := [value for name, _, value in hashes if name == kind]:
            return base64.b64encode(new(kind, data).digest()).decode() in wanted
    return True  # of a kind that browsers do not know, and pass over


class _Reader(HTMLParser):
    """Collects what a page loads, and its base."""

    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.loads: list[Loaded] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "base" and self.base is None:
            self.base = found.get("href")
        if tag == "link" and LOADED_LINKS.isdisjoint(found.get("rel", "").lower().split()):
            return
        if address := found.get(LOADING.get(tag, ""), "").strip():
            self.loads.append(Loaded(address, found.get("integrity", "")))
