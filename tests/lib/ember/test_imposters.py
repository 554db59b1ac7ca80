"""Something that answers in Cloud Storage's place: a portal's login page, another service's JSON."""

import dataclasses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.lib.ember.access import Access
from tasks.lib.ember.overview import overview
from tasks.lib.ember.place import opened
from tasks.lib.ember.upload import upload_to
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.serving import answering

EMBER = checked_in_settings().ember
PORTAL = ("text/html", b"<html>Please log in to the <b>hotel's</b> network</html>")
OTHER = ("application/json", b'["another", "service"]')
HALF = ("application/json", b'{"items": [{"id": "no name"}], "kind": "x"}')


def imposter(kind: str, body: bytes) -> ThreadingHTTPServer:
    class Imposter(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return ThreadingHTTPServer(("127.0.0.1", 0), Imposter)


@pytest.mark.parametrize(("kind", "body"), [PORTAL, OTHER, HALF])
def test_an_upload_says_what_answered(access: Access, app: Path, kind: str, body: bytes) -> None:
    with answering(imposter(kind, body)) as server:
        way = dataclasses.replace(access, endpoint=f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(Failure) as caught:
            upload_to(way, EMBER, str(app), "p")
    assert caught.value.what == "Cloud Storage did not answer; something else did."
    assert kind in caught.value.why


@pytest.mark.parametrize(("kind", "body"), [PORTAL, OTHER, HALF])
def test_a_list_of_revisions_says_what_answered(access: Access, kind: str, body: bytes) -> None:
    with answering(imposter(kind, body)) as server:
        way = dataclasses.replace(access, endpoint=f"http://127.0.0.1:{server.server_port}")
        with opened(way, EMBER, "p") as place, pytest.raises(Failure, match="something else did"):
            overview(place)
