"""A bucket that can only be read: it holds what an upload of FOLDER to PREFIX would have written.

Usage: python -m benchmarks.listing_server FOLDER PREFIX.  It prints the port it listens on.

fake-gcs-server reads all its objects for each page of a listing, which takes hours with 100,000 of them; this
one takes seconds, so that the memory of an upload that changes nothing can be measured.
"""

import bisect
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from tasks.lib.ember import activation, revisions
from tasks.lib.ember.archive.inventory import inspect
from tasks.lib.ember.archive.source import open_archive
from tasks.lib.ember.content import as_base64
from tasks.lib.ember.entry import Entry
from tasks.lib.ember.listing import PAGE
from tasks.lib.ember.objects import PLAIN_KEY, Plain, plain_note
from tasks.lib.ember.place import Place
from tests.builders import checked_in_settings

if TYPE_CHECKING:
    from tasks.lib.ember.access import Access
    from tasks.lib.ember.http import Pool


def item(entry: Entry, prefix: str, number: int) -> dict[str, Any]:
    """An object as the API describes it."""
    return {
        "name": prefix + entry.path,
        "size": str(entry.size),
        "crc32c": as_base64(entry.crc32c),
        "contentType": entry.headers.content_type,
        "cacheControl": entry.headers.cache_control,
        "generation": str(1_795_482_540_000_000 + number),
        "metadata": {PLAIN_KEY: plain_note(Plain(entry.size, entry.crc32c))},
    }


def text_item(name: str, data: bytes, **metadata: str) -> dict[str, Any]:
    """The object of a page or a manifest, as the API describes it."""
    entry = revisions.made(name, data, revisions.MANIFEST_HEADERS)
    described = item(entry, "", 0)
    described["metadata"] |= metadata
    return {**described, "timeCreated": "2026-01-01T00:00:00+00:00"}


class Handler(BaseHTTPRequestHandler):
    """Answers pages of listings, and what is asked of the page."""

    protocol_version = "HTTP/1.1"
    items: list[dict[str, Any]]
    names: list[str]
    manifest: dict[str, Any]
    page: dict[str, Any]

    def do_GET(self) -> None:
        """One answer."""
        url = urlsplit(self.path)
        asked = {key: value[0] for key, value in parse_qs(url.query).items()}
        if "/o/" in url.path:
            self._answer(self.page)
        else:
            self._answer({"items": [self.manifest]} if "delimiter" in asked else self._listed(asked))

    def _listed(self, asked: dict[str, str]) -> dict[str, Any]:
        start = bisect.bisect_left(self.names, asked.get("pageToken") or asked.get("startOffset", ""))
        end = bisect.bisect_left(self.names, asked["endOffset"]) if "endOffset" in asked else len(self.names)
        last = min(end, start + PAGE)
        page: dict[str, Any] = {"items": self.items[start:last]}
        if last < end:
            page["nextPageToken"] = self.names[last]
        return page

    def _answer(self, found: dict[str, Any]) -> None:
        data = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Nothing is logged."""


def main() -> None:
    """Serve until ended."""
    folder, prefix = sys.argv[1:]
    ember = checked_in_settings().ember
    entries = inspect(open_archive(folder, ember.limits), prefix, ember).entries
    name = revisions.identity(entries)
    place = Place(cast("Access", None), cast("Pool", None), prefix, ember)
    names = {named(entry): entry for entry in entries for named in (place.live, place.kept(name))}
    Handler.items = [
        {**item(names[one], "", number), "name": one} for number, one in enumerate(sorted(names))
    ]
    Handler.manifest = text_item(place.manifest(name), revisions.manifest(entries, name))
    Handler.page = text_item(f"{prefix}index.html", b"", **{activation.HISTORY_KEY: name})
    Handler.names = [one["name"] for one in Handler.items]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
