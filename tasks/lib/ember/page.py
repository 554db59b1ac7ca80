"""The page that visitors load: a revision's index.html, which finds all else in the revision's own folder."""

import posixpath
from collections.abc import Collection, Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from tasks.lib.ember import revision
from tasks.lib.errors import Failure

LOADING = {"script": "src", "link": "href", "img": "src", "source": "src", "audio": "src", "video": "src"}
# Of links those that a browser loads by itself.
LOADED_LINKS = frozenset({"stylesheet", "icon", "manifest", "modulepreload", "preload", "prefetch"})
BOM = "\u00ef\u00bb\u00bf"  # as latin-1 reads it
HERE = frozenset({"", ".", "./"})
# What is served for a moment where nothing was before: it needs no file, and asks again by itself.
AWAITING = (
    b'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">'
    b"<title>One moment</title></head><body><p>This page will be here in a moment.</p></body></html>\n"
)


def of_revision(index: bytes, name: str) -> bytes:
    """The page that leads visitors into revision `name`, whose index.html is `index`.

    Raises:
        Failure: it cannot be served so, as for `based`.

    """
    return based(index, f"{revision.FOLDER}{name}/")


def based(index: bytes, folder: str) -> bytes:
    """`index` with a base, so that its relative addresses lead into `folder`.

    The page itself stays at one address while a revision's files never move: a page that is open keeps
    finding what it was built with, whatever is activated meanwhile.

    Args:
        index: a revision's index.html.
        folder: the revision's folder, relative to where the page is served, with a slash at its end.

    Raises:
        Failure: the page loads something by an address that a base does not move.

    """
    reader = _read(index)
    faults = [f"{address} is absolute." for address in reader.absolute]
    if reader.base is not None and reader.base not in HERE:
        faults.append(f'It has a <base href="{reader.base}"> of its own.')
    if faults:
        raise Failure(
            "index.html cannot be served from a revision.",
            "\n".join(faults),
            'Build with rootURL: "" in config/environment.js (relative addresses), or use --in-place.',
        )
    return index[: reader.head] + f'<base href="{folder}">'.encode() + index[reader.head :]


def missing(index: bytes, paths: Collection[str]) -> Iterator[str]:
    """The relative addresses that a page loads files by which are not among `paths`.

    Args:
        index: an app's index.html.
        paths: the app's files, as the page would find them.

    """
    reader = _read(index)
    for address in dict.fromkeys(reader.relative):
        found = urlsplit(urljoin(reader.base or "", address))
        path = posixpath.normpath(unquote(found.path.encode("latin-1")))
        if not (found.scheme or found.netloc or found.path.startswith("/")) and path not in paths:
            yield address.encode("latin-1").decode(errors="replace")


def _read(index: bytes) -> "_Addresses":
    reader = _Addresses()
    # A character for each byte, so that positions are those of bytes; what is looked for is ASCII.
    reader.feed(index.decode("latin-1"))
    return reader


class _Addresses(HTMLParser):
    """Collects what a page loads, its own base, and where its head begins, which it need not spell out."""

    def __init__(self) -> None:
        super().__init__()
        self.absolute: list[str] = []
        self.relative: list[str] = []
        self.base: str | None = None
        self.head = 0
        self._is_before_head = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if self._is_before_head and tag in {"html", "head"}:
            self.head = self._position() + len(self.get_starttag_text() or "")
        self._is_before_head = self._is_before_head and tag == "html"
        if tag == "base" and self.base is None:
            self.base = found.get("href")
        address = (found.get(LOADING.get(tag, "")) or "").strip()
        if tag == "link" and LOADED_LINKS.isdisjoint((found.get("rel") or "").lower().split()):
            return
        if address.startswith("/") and not address.startswith("//"):
            self.absolute.append(address)
        elif address and not address.startswith(("#", "?", "//")):
            self.relative.append(address)

    def handle_decl(self, decl: str) -> None:
        if self._is_before_head and not self.head:
            self.head = self._position() + len(f"<!{decl}>")

    def handle_data(self, data: str) -> None:
        if not self._is_before_head:
            return
        if self._position() == 0 and data.startswith(BOM):
            self.head = len(BOM)
            data = data.removeprefix(BOM)
        self._is_before_head = not data.strip()

    def _position(self) -> int:
        """Where the tag that is being handled begins in the page, which was fed at once."""
        line, column = self.getpos()
        at = 0
        for _ in range(line - 1):
            at = self.rawdata.index("\n", at) + 1
        return at + column
