"""The page that visitors load: a revision's index.html, which finds all else in the revision's own folder."""

from html.parser import HTMLParser

from tasks.lib.ember import revision
from tasks.lib.errors import Failure

LOADING = {"script": "src", "link": "href", "img": "src", "source": "src", "audio": "src", "video": "src"}
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
        Failure: the page has no head, or loads something by an address that a base does not move.

    """
    reader = _Addresses()
    # A character for each byte, so that positions are those of bytes; what is looked for is ASCII.
    reader.feed(index.decode("latin-1"))
    faults = [f"{address} is absolute." for address in reader.absolute]
    if reader.base is not None and reader.base not in HERE:
        faults.append(f'It has a <base href="{reader.base}"> of its own.')
    if reader.head_end is None:
        faults.append("It has no <head>.")
    if reader.head_end is None or faults:
        raise Failure(
            "index.html cannot be served from a revision.",
            "\n".join(faults),
            'Build with rootURL: "" in config/environment.js (relative addresses), or use --in-place.',
        )
    return index[: reader.head_end] + f'<base href="{folder}">'.encode() + index[reader.head_end :]


class _Addresses(HTMLParser):
    """Collects the addresses that a base does not move, the page's own base, and where its head begins."""

    def __init__(self) -> None:
        super().__init__()
        self.absolute: list[str] = []
        self.base: str | None = None
        self.head_end: int | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "head" and self.head_end is None:
            self.head_end = self._position() + len(self.get_starttag_text() or "")
        if tag == "base" and self.base is None:
            self.base = found.get("href")
        address = found.get(LOADING.get(tag, "")) or ""
        if address.startswith("/") and not address.startswith("//"):
            self.absolute.append(address)

    def _position(self) -> int:
        """Where the tag that is being handled begins in the page, which was fed at once."""
        line, column = self.getpos()
        at = 0
        for _ in range(line - 1):
            at = self.rawdata.index("\n", at) + 1
        return at + column
