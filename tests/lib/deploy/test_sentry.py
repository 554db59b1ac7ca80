"""Telling Sentry: the commands exactly, and sentry-cli itself against a server that keeps what it is sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import sentry
from tasks.lib.errors import Failure, TimedOut
from tests.builders import checked_in_settings
from tests.serving import answering

COMMIT = "c" * 40
VARIABLES = BuildVariables(
    commit_sha=COMMIT, branch_name="develop", tag_name="latest", repo_name="lookit-api", build_id="b"
)
TOKEN = "a-token-of-some-length"


@contextmanager
def server(status: int = 201) -> Iterator[tuple[str, list[tuple[str, str, str, Any]]]]:
    """A stand-in for Sentry's API; yields its address and what it was sent."""
    seen: list[tuple[str, str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = json.loads(body) if body else None
            seen.append((self.command, self.path, self.headers.get("Authorization", ""), sent))
            reply = REPOSITORIES if self.command == "GET" else RELEASE
            if status >= 400:
                reply = b'{"detail": "You do not have permission"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_PUT = do_POST = answer  # noqa: N815 - their names

        def log_message(self, *_: Any) -> None:
            pass

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as listening:
        yield f"http://127.0.0.1:{listening.server_port}/", seen


REPOSITORIES = json.dumps([{
    "id": "1", "name": "lookit/lookit-api", "url": None, "provider": {"id": "github", "name": "GitHub"},
    "status": "active", "dateCreated": "2024-05-06T07:08:09Z",
}]).encode()  # fmt: skip
RELEASE = json.dumps({
    "version": COMMIT, "dateCreated": "2024-05-06T07:08:09Z", "environment": "staging", "id": "1",
    "projects": [], "newGroups": 0, "dateReleased": "2024-05-06T07:08:09Z", "commitCount": 1,
}).encode()  # fmt: skip


def told(url: str, token: str = TOKEN, organization: str = "lookit") -> bool:
    settings = checked_in_settings(sentry={"organization": organization, "url": url})
    environ = {sentry.TOKEN: token} if token else {}
    return sentry.announce(settings, settings.environment("staging"), VARIABLES, environ)


def test_the_calls_name_the_commit_and_where_it_runs() -> None:
    settings = checked_in_settings()

    calls = sentry.commands(settings, settings.environment("staging"), VARIABLES)

    assert {Path(call[0]).name for call in calls} == {"sentry-cli"}
    assert [" ".join(call[1:]) for call in calls] == [
        f"releases new {COMMIT}",
        f"releases set-commits {COMMIT} --commit lookit/lookit-api@{COMMIT}",
        f"releases finalize {COMMIT}",
        f"deploys new --release {COMMIT} --env staging --url https://babieshelpingscience.com/",
    ]


def test_sentry_receives_the_release_its_commit_and_its_deployment() -> None:
    with server() as (url, seen):
        assert told(url)

    sent = [(method, path.rstrip("/")) for method, path, _, _ in seen]
    organization = "/api/0/organizations/lookit"
    releases = "/api/0/projects/lookit/lookit-api/releases"
    assert {token for _, _, token, _ in seen} == {f"Bearer {TOKEN}"}
    posted = [path for method, path in sent if method == "POST"]
    assert posted[-1] == f"{organization}/releases/{COMMIT}/deploys"
    assert any(path.startswith((f"{organization}/releases", releases)) for path in posted[:-1])
    references = [body["refs"] for _, _, _, body in seen if body and body.get("refs")]
    assert references == [[{"repository": "lookit/lookit-api", "commit": COMMIT, "previousCommit": None}]]
    deployment = seen[-1][3]
    assert (deployment["environment"], deployment["url"]) == ("staging", "https://babieshelpingscience.com/")


def test_a_refusal_of_sentry_hides_the_token() -> None:
    with server(403) as (url, _), pytest.raises(Failure) as raised:
        told(url)

    assert "You do not have permission" in raised.value.why
    assert "The release itself stands" in raised.value.next_step
    assert TOKEN not in str(raised.value)


def test_without_a_token_nothing_is_sent() -> None:
    with server() as (url, seen), pytest.raises(Failure, match="SENTRY_AUTH_TOKEN is not set"):
        told(url, token="")

    assert seen == []


def test_without_an_organisation_nobody_is_told() -> None:
    with server() as (url, seen):
        assert told(url, organization="") is False

    assert seen == []


def test_a_call_that_takes_too_long_is_a_time_out() -> None:
    settings = checked_in_settings(sentry={"organization": "lookit"}, time_limits={"sentry": "0.01s"})

    with pytest.raises(TimedOut, match="Sentry was not told"):
        sentry.announce(settings, settings.environment("staging"), VARIABLES, {sentry.TOKEN: TOKEN})
