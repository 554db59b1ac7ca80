"""A bucket that can only be listed: it holds what an upload of FOLDER to PREFIX in place would have written.

Usage: python -m benchmarks.listing_server FOLDER PREFIX.  It prints the port it listens on.

fake-gcs-server reads all its objects for each page of a listing, which takes hours with 100,000 of them; this
one takes seconds, so that the memory of an upload that changes nothing can be measured.
"""

import bisect
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.content import as_base64
from tasks.lib.ember.inspection import Entry, inspect
from tasks.lib.ember.listing import PAGE
from tasks.lib.ember.remote import PLAIN_KEY, Plain, plain_note
from tests.builders import checked_in_settings


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


class Handler(BaseHTTPRequestHandler):
    """Answers pages of the listing."""

    protocol_version = "HTTP/1.1"
    items: list[dict[str, Any]]
    names: list[str]

    def do_GET(self) -> None:
        """One page."""
        asked = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
        start = bisect.bisect_left(self.names, asked.get("pageToken") or asked.get("startOffset", ""))
        end = bisect.bisect_left(self.names, asked["endOffset"]) if "endOffset" in asked else len(self.names)
        last = min(end, start + PAGE)
        page: dict[str, Any] = {"items": self.items[start:last]}
        if last < end:
            page["nextPageToken"] = self.names[last]
        data = json.dumps(page).encode()
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
    entries = sorted(
        inspect(open_archive(folder, ember.limits), prefix, ember).entries, key=lambda one: one.path
    )
    Handler.items = [item(entry, prefix, number) for number, entry in enumerate(entries)]
    Handler.names = [one["name"] for one in Handler.items]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
