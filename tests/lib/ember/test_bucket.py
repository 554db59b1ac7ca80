"""The bucket's configuration as code.

fake-gcs-server keeps none of it, so a server that stores bucket resources as the JSON API documents stands here.
"""

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tasks.lib.ember import bucket as configuring
from tasks.lib.ember.access import Access
from tasks.lib.errors import ChangesFound, Failure, TimedOut, UsageError
from tests.builders import checked_in_settings
from tests.kms_process import write_certificate
from tests.serving import answering

WANTED = checked_in_settings().ember.bucket
DELETE = {"action": {"type": "Delete"}, "condition": {"age": 365, "matchesPrefix": ["media/"]}}
EMPTY: dict[str, Any] = {"cors": [], "website": {}, "lifecycle": []}


class _Buckets(BaseHTTPRequestHandler):
    """One bucket resource; PATCH merges, and honours ifMetagenerationMatch."""

    resource: dict[str, Any]

    def do_GET(self) -> None:
        self._answer(200)

    def do_PATCH(self) -> None:
        change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if f"ifMetagenerationMatch={self.resource['metageneration']}" not in self.path:
            self._answer(412)
            return
        self.resource.update(change)
        self.resource["metageneration"] = str(int(self.resource["metageneration"]) + 1)
        self._answer(200)

    def log_message(self, *args: object) -> None:
        """Nothing is logged."""

    def _answer(self, status: int) -> None:
        body = json.dumps(self.resource).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def google(access: Access) -> Iterator[tuple[Access, dict[str, Any]]]:
    resource = {"kind": "storage#bucket", "name": "b", "metageneration": "1", "lifecycle": {"rule": [DELETE]}}
    handler = type("Handler", (_Buckets,), {"resource": resource})
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield replace(access, endpoint=f"http://127.0.0.1:{server.server_port}", bucket="b"), resource


def test_applying_leaves_no_difference(google: tuple[Access, dict[str, Any]]) -> None:
    access, resource = google
    found, now = configuring.observe(access)
    assert [change.part for change in configuring.changes(WANTED, now)] == ["cors", "website", "lifecycle"]
    configuring.apply(access, found, configuring.wanted(WANTED, now))
    _, after = configuring.observe(access)
    assert configuring.changes(WANTED, after) == []
    assert resource["cors"][0]["origin"] == ["*"]
    assert resource["website"]["mainPageSuffix"] == "index.html"
    assert DELETE in resource["lifecycle"]["rule"]


def test_rules_in_another_order_are_the_same(google: tuple[Access, dict[str, Any]]) -> None:
    """Google adds a rule that somebody makes in the console after ours."""
    access, resource = google
    found, now = configuring.observe(access)
    configuring.apply(access, found, configuring.wanted(WANTED, now))
    resource["lifecycle"]["rule"].reverse()

    _, after = configuring.observe(access)

    assert configuring.changes(WANTED, after) == []


def test_a_rule_that_the_library_does_not_know_stays(google: tuple[Access, dict[str, Any]]) -> None:
    access, resource = google
    unknown = {"action": {"type": "Freeze"}, "condition": {"age": 7}}
    resource["lifecycle"] = {"rule": [unknown, DELETE]}
    found, now = configuring.observe(access)

    configuring.apply(access, found, configuring.wanted(WANTED, now))

    assert resource["lifecycle"]["rule"][:2] == [unknown, DELETE]


def test_cors_without_headers_is_in_force_without_that_field(google: tuple[Access, dict[str, Any]]) -> None:
    """Google leaves fields without anything in them out of its answers."""
    access, resource = google
    settings = structs.replace(WANTED, cors=[structs.replace(WANTED.cors[0], response_header=[])])
    found, now = configuring.observe(access)
    configuring.apply(access, found, configuring.wanted(settings, now))
    resource["cors"][0].pop("responseHeader", None)

    _, after = configuring.observe(access)

    assert configuring.changes(settings, after) == []


def test_a_configuration_that_somebody_changed_meanwhile_is_left_alone(
    google: tuple[Access, dict[str, Any]],
) -> None:
    access, resource = google
    found, now = configuring.observe(access)
    resource["metageneration"] = "7"
    with pytest.raises(Failure, match="could not be configured"):
        configuring.apply(access, found, configuring.wanted(WANTED, now))
    assert "cors" not in resource


def test_the_settings_authorities_are_trusted_as_uploads_trust_them(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a proxy that opens TLS needs it."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = type("Handler", (_Buckets,), {"resource": {"name": "b", "metageneration": "1"}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with answering(server):
        endpoint = f"https://127.0.0.1:{server.server_port}"
        way = replace(access, endpoint=endpoint, bucket="b", ca_file=str(certificate), limit=60.0)
        assert configuring.observe(way)[1] == EMPTY


def test_server_that_ignores_bucket_configuration_is_recognised(access: Access) -> None:
    found, now = configuring.observe(access)
    with pytest.raises(Failure) as caught:
        configuring.apply(access, found, configuring.wanted(WANTED, now))
    assert caught.value.why == "Not in force: cors, website, lifecycle."


def test_a_missing_bucket_is_named(access: Access) -> None:
    with pytest.raises(Failure, match="The bucket nowhere could not be looked at"):
        configuring.observe(replace(access, bucket="nowhere"))


def test_unreachable_server_times_out_at_the_limit(
    google: tuple[Access, dict[str, Any]],
) -> None:
    nowhere = "http://127.0.0.1:1"
    with pytest.raises(TimedOut, match="could not be looked at") as caught:
        configuring.observe(replace(google[0], endpoint=nowhere, limit=0.5))
    assert "within time_limits.storage" in caught.value.why
    assert "Connection refused" in caught.value.why
    assert "roles/" not in caught.value.next_step


def test_a_change_shows_both_sides() -> None:
    change = configuring.changes(WANTED, EMPTY)[1]
    assert str(change) == 'website:\n  - {}\n  + {"mainPageSuffix": "index.html"}'


def test_plan_and_apply_do_not_go_together() -> None:
    configuring.check_options(plan=True, apply=False)
    configuring.check_options(plan=False, apply=True)
    with pytest.raises(UsageError, match="--plan and --apply do not go together"):
        configuring.check_options(plan=True, apply=True)


def test_differences_have_their_own_exit_code() -> None:
    changes = configuring.changes(WANTED, EMPTY)
    assert configuring.told(changes) == "3 parts differ."
    assert configuring.told(changes[:1]) == "1 part differs."
    assert configuring.told([]) == "Nothing differs."
    configuring.require_no_changes([])
    with pytest.raises(ChangesFound, match="cors, website, lifecycle is not as invoke.yaml says") as caught:
        configuring.require_no_changes(changes)
    assert caught.value.exit_code == 3
