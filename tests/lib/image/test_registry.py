"""The registry's API over real HTTP, against a server that says what each test needs."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from tasks.lib import retry
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.image import registry, wire
from tasks.lib.image.credentials import Login
from tasks.lib.image.reference import parse
from tasks.lib.redaction import Secret
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings
from tests.clock import Clock
from tests.lib.image.memory_registry import resolve_digest
from tests.serving import answering

Answer = tuple[int, dict[str, str], bytes]
DIGEST = "sha256:" + "1" * 64


@contextmanager
def server(answers: list[Answer]) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A registry that gives these answers in turn; yields its address and what it was asked."""
    seen: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append((self.command, self.path, self.headers.get("Authorization", "")))
            status, headers, body = answers[min(len(seen), len(answers)) - 1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value.replace("{address}", self.headers["Host"]))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = answer  # noqa: N815 - their names

        def log_message(self, *_: Any) -> None:
            pass

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as listening:
        yield f"127.0.0.1:{listening.server_port}", seen


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return checked_in_settings(time_limits={"registry_attempt": "30s", "registry": "60s"})


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(wire, "time", clock)
    monkeypatch.setattr(retry, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("challenge", "token", "asked"),
    [
        pytest.param("Negotiate", (200, {}, b'{"token": "t"}'), ["HEAD"], id="a scheme of others"),
        pytest.param('Bearer service="s"', (200, {}, b'{"token": "t"}'), ["HEAD"], id="no address"),
        pytest.param('Bearer realm="http://{address}/token"', (403, {}, b"no"), ["HEAD", "GET"],
                     id="the token is refused"),
    ],
)  # fmt: skip
def test_where_no_login_leads_in_the_registry_s_refusal_counts(
    settings: Settings, challenge: str, token: "Answer", asked: list[str]
) -> None:
    refusal = (401, {"WWW-Authenticate": challenge}, b"")
    with server([refusal, token]) as (address, seen), pytest.raises(Failure) as raised:
        resolve_digest(settings, f"{address}/a:v1")

    assert [method for method, _, _ in seen] == asked
    assert raised.value.what == f"HEAD of {address}/a:v1 was refused."
    assert raised.value.why == "The registry answered 401 Unauthorized: "
    assert raised.value.next_step.startswith(f"Log in (`docker login {address}`")


def test_a_basic_challenge_is_answered_with_the_login(settings: Settings, tmp_path: Path) -> None:
    with server([(401, {"WWW-Authenticate": 'Basic realm="r"'}, b""), found()]) as (address, seen):
        auth = base64.b64encode(b"me:pw").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))

        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST

    assert [authorization for _, _, authorization in seen] == ["", f"Basic {auth}"]


def test_an_anonymous_token_is_fetched_once(settings: Settings) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://{address}/token",scope="pull"'}
    answers = [
        (401, challenge, b""),
        (200, {}, b'{"access_token": "t"}'),
        found(),
        (401, challenge, b""),
        found(),
    ]
    with server(answers) as (address, seen):
        connection = registry.connect(settings, address)
        assert [connection.digest(parse(f"{address}/a:{tag}")) for tag in ("v1", "v2")] == [DIGEST, DIGEST]

    assert [authorization for _, _, authorization in seen] == ["", "", "Bearer t", "", "Bearer t"]


def test_a_token_that_has_run_out_is_fetched_anew_once(settings: Settings) -> None:
    """As Docker Hub's after five minutes, within a promotion of large layers or a long pruning."""
    challenge = {"WWW-Authenticate": 'Bearer realm="http://{address}/token",scope="pull"'}
    refusal = (401, challenge, b"")
    answers = [
        refusal, (200, {}, b'{"token": "old"}'), found(),
        refusal, refusal, (200, {}, b'{"token": "new"}'), found(),
        refusal, refusal, (200, {}, b'{"token": "newer"}'), refusal,
    ]  # fmt: skip
    with server(answers) as (address, seen):
        connection = registry.connect(settings, address)
        assert [connection.digest(parse(f"{address}/a:{tag}")) for tag in ("v1", "v2")] == [DIGEST, DIGEST]
        with pytest.raises(Failure, match="was refused"):
            connection.digest(parse(f"{address}/a:v3"))

    assert [authorization for _, _, authorization in seen] == [
        "", "", "Bearer old",
        "", "Bearer old", "", "Bearer new",
        "", "Bearer new", "", "Bearer newer",
    ]  # fmt: skip


def found(digest: str = DIGEST) -> Answer:
    return 200, {"Docker-Content-Digest": digest}, b""


def test_a_tag_resolves_to_its_digest(settings: Settings) -> None:
    with server([found()]) as (address, seen):
        assert resolve_digest(settings, f"{address}/a/b:v1") == DIGEST

    assert seen == [("HEAD", "/v2/a/b/manifests/v1", "")]


def test_a_digest_is_looked_up_too(settings: Settings) -> None:
    with server([found()]) as (address, seen):
        assert resolve_digest(settings, f"{address}/a/b@{DIGEST}") == DIGEST

    assert seen[0][1] == f"/v2/a/b/manifests/{DIGEST}"


def test_a_missing_image_is_named_with_the_way_to_look(settings: Settings) -> None:
    with server([(404, {}, b"")]) as (address, _), pytest.raises(Failure) as raised:
        resolve_digest(settings, f"{address}/a/b:v1")

    assert raised.value.what == f"The registry has no image {address}/a/b:v1."
    assert raised.value.next_step == f"See what there is: ./inv images.list --repository {address}/a/b"


def test_a_token_is_fetched_where_the_registry_asks_for_one(settings: Settings, tmp_path: Path) -> None:
    challenge = {
        "WWW-Authenticate": 'Bearer realm="http://{address}/token",service="s",scope="repository:a:pull"'
    }
    answers = [(401, challenge, b""), (200, {}, b'{"token": "t"}'), found()]
    with server(answers) as (address, seen):
        auth = base64.b64encode(b"me:pw").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))

        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST

    assert seen == [
        ("HEAD", "/v2/a/manifests/v1", ""),
        ("GET", "/token?service=s&scope=repository:a:pull", f"Basic {auth}"),
        ("HEAD", "/v2/a/manifests/v1", "Bearer t"),
    ]


def test_a_registry_on_this_machine_is_asked_through_no_proxy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with server([found()]) as (address, _):
        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST


def through_proxy(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("http_proxy", f"http://{address}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_what_gives_tokens_elsewhere_is_asked_through_the_proxy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://tokens.example/token",service="s"'}
    with server([(401, challenge, b""), (200, {}, b'{"token": "t"}'), found()]) as (address, seen):
        through_proxy(monkeypatch, address)
        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST

    assert [path for _, path, _ in seen] == [
        "/v2/a/manifests/v1", "http://tokens.example/token?service=s", "/v2/a/manifests/v1",
    ]  # fmt: skip


def test_a_password_in_netrc_takes_no_token_s_place(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker knows nothing of that file; a registry that asks for a token takes no password."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine registry.example login me password pw\n")
    monkeypatch.setenv("NETRC", str(netrc))
    plain = replace(settings, registry=replace(settings.registry, plain_http=["registry.example"]))
    challenge = {"WWW-Authenticate": 'Bearer realm="http://{address}/token",service="s"'}
    with server([(401, challenge, b""), (200, {}, b'{"token": "t"}'), found()]) as (address, seen):
        through_proxy(monkeypatch, address)
        assert resolve_digest(plain, "registry.example/a:v1") == DIGEST

    assert [authorization for _, _, authorization in seen] == ["", "", "Bearer t"]


def test_non_latin_names_are_sent_as_docker_does() -> None:
    asked = {"realm": "https://r.example/token", "service": "s"}

    request = wire.token_request(asked, Login("Łucja", Secret(b"pw")))

    assert request.headers == {"Authorization": f"Basic {base64.b64encode('Łucja:pw'.encode()).decode()}"}


def test_a_missing_proxy_suggests_checking_the_network(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(Failure) as raised:
        resolve_digest(settings, "registry.example/a:v1")

    assert raised.value.what == "The registry at https://registry.example cannot be reached."
    assert raised.value.next_step.startswith("Check the network, a proxy or VPN, and that image.repository")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_temporary_failure_is_retried(settings: Settings, clock: Clock, status: int) -> None:
    with server([(status, {}, b""), found()]) as (address, seen):
        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST

    assert len(seen) == 2
    assert len(clock.slept) == 1


def test_the_last_error_of_the_registry_is_reported(settings: Settings, clock: Clock) -> None:
    body = b'{"errors": [{"code": "UNAVAILABLE", "message": "try later"}]}'
    with server([(503, {}, body)]) as (address, seen), pytest.raises(Failure) as raised:
        registry.connect(settings, address).manifest(parse(f"{address}/a:v1"))

    assert "503 Service Unavailable: UNAVAILABLE try later" in raised.value.why
    assert len(seen) == len(clock.slept) + 1
    assert 50 < sum(clock.slept) <= 60


def test_a_failing_registry_is_reported_every_ten_seconds(
    settings: Settings, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with server([(500, {}, b"")]) as (address, _), pytest.raises(Failure) as raised:
        registry.connect(settings, address).manifest(parse(f"{address}/a:v1"))

    lines = capsys.readouterr().err.splitlines()
    said = f"The registry at http://{address} answers 500 Internal Server Error; trying again for up to "
    assert all(line.startswith(said) for line in lines)
    assert 3 <= len(lines) <= 6
    assert "time_limits.registry" in raised.value.next_step


def test_retry_after_of_a_registry_is_respected(settings: Settings, clock: Clock) -> None:
    with server([(429, {"Retry-After": "40"}, b""), found()]) as (address, seen):
        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST

    assert len(seen) == 2
    assert 40 < clock.slept[0] < 42


def test_a_retry_after_beyond_the_limit_fails_at_once(settings: Settings, clock: Clock) -> None:
    with server([(429, {"Retry-After": "120"}, b"")]) as (address, seen), pytest.raises(Failure) as raised:
        resolve_digest(settings, f"{address}/a:v1")

    assert (len(seen), clock.slept) == (1, [])
    assert raised.value.next_step.startswith("Run the same command again in 120 s, as it asks")


def test_a_refusal_is_not_tried_again_and_names_the_right(settings: Settings) -> None:
    with (
        server([(403, {}, b'{"errors": [{"code": "DENIED"}]}')]) as (address, seen),
        pytest.raises(Failure) as raised,
    ):
        resolve_digest(settings, f"{address}/a:v1")

    assert len(seen) == 1
    assert "roles/artifactregistry.reader" in raised.value.next_step


def test_a_registry_that_is_down_is_said_at_once(settings: Settings) -> None:
    with server([]) as (address, _):
        pass

    with pytest.raises(Failure, match=f"The registry at http://{address} cannot be reached"):
        resolve_digest(settings, f"{address}/a:v1")


def test_a_registry_without_tls_names_the_setting(clock: Clock) -> None:
    with server([found()]) as (address, _), pytest.raises(Failure, match="cannot be reached") as raised:
        wire.Wire(f"https://{address}", lambda: None, 30, 60).send(wire.Exchange("GET", "/v2/"))

    assert (
        raised.value.next_step
        == f"If it is meant to speak without TLS, name {address} in registry.plain_http."
    )
    assert not clock.slept


def test_an_untrusted_certificate_fails_at_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise requests.exceptions.SSLError(
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed"
        )

    monkeypatch.setattr(wire.Wire, "_once", refuse)

    with pytest.raises(Failure, match="cannot be reached") as raised:
        wire.Wire("https://r.example", lambda: None, 30, 60).send(wire.Exchange("GET", "/v2/"))

    assert raised.value.next_step == (
        "If you trust who signed its certificate: export INVOKE_REGISTRY_CA_FILE=FILE (registry.ca_file)"
    )
    assert not clock.slept


def test_a_registry_that_hangs_times_out(clock: Clock) -> None:
    import socket

    settings = checked_in_settings(time_limits={"registry_attempt": "0.05s", "registry": "0.5s"})
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimedOut) as raised:
        resolve_digest(settings, f"127.0.0.1:{silent.getsockname()[1]}/a:v1")

    assert raised.value.why.startswith(
        "No answer within 0.05 s (time_limits.registry_attempt), tried for 0.5 s (time_limits.registry): "
    )


def test_tags_are_read_page_by_page(settings: Settings) -> None:
    pages = [
        (200, {"Link": '</v2/a/tags/list?n=1&last=x>; rel="next"'}, b'{"tags": ["x"]}'),
        (200, {}, b'{"tags": ["y"]}'),
    ]
    with server(pages) as (address, seen):
        assert registry.connect(settings, address).tags(parse(f"{address}/a")) == ["x", "y"]

    assert [path for _, path, _ in seen] == ["/v2/a/tags/list?n=1000", "/v2/a/tags/list?n=1&last=x"]


def test_a_page_instead_of_a_manifest_is_refused(settings: Settings) -> None:
    page = (200, {"Content-Type": "text/html"}, b"<html>")
    with server([page]) as (address, _), pytest.raises(Failure, match="something else did"):
        resolve_digest(settings, f"{address}/a:v1")


@pytest.mark.parametrize("written", [b"{}", b'{"config": null}', b'{"config": {"Labels": null}}'])
def test_an_image_without_labels_has_none(settings: Settings, written: bytes) -> None:
    manifest = registry.Manifest("sha256:0", "", b'{"config": {"digest": "sha256:1"}, "layers": []}')
    with server([(200, {}, written)]) as (address, _):
        assert registry.connect(settings, address).labels(parse(f"{address}/a:v1"), manifest) == {}


def test_a_page_in_the_place_of_the_tags_is_told(settings: Settings) -> None:
    with (
        server([(200, {"Content-Type": "text/html"}, b"<html>")]) as (address, _),
        pytest.raises(Failure) as caught,
    ):
        registry.connect(settings, address).tags(parse(f"{address}/a"))

    assert caught.value.what == f"The registry {address} did not answer; something else did."
    assert caught.value.why == "The answer (text/html) is not the service's: <html>"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:5000", True), ("localhost:5000", True), ("[::1]:5000", True), ("localhost", True),
        ("registry.example:5000", False), ("gcr.io", False), ("127.example.org", False),
    ],
)  # fmt: skip
def test_this_machine_s_registries_are_known_by_their_host(host: str, expected: bool) -> None:
    assert registry.is_on_this_machine(host) is expected


def test_a_registry_elsewhere_speaks_tls_unless_it_is_named(settings: Settings) -> None:
    named = replace(settings, registry=replace(settings.registry, plain_http=["registry.example:5000"]))

    assert registry.scheme(settings, "registry.example:5000") == "https"
    assert registry.scheme(named, "registry.example:5000") == "http"


@pytest.mark.parametrize(
    ("address", "realm", "why"),
    [
        ("https://r.example", "http://r.example/token", "not"),
        ("https://us-docker.pkg.dev", "https://tokens.example/token", "Google"),
        ("https://gcr.io", "https://evilgcr.io/token", "Google"),
        ("https://gcr.io", "https://gcr.io/v2/token", ""),
        ("https://registry-1.docker.io", "https://auth.docker.io/token", ""),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", ""),
    ],
)
def test_a_login_goes_only_where_it_belongs(address: str, realm: str, why: str) -> None:
    found = wire.misplaced(address, realm)
    assert why in found
    assert bool(found) == bool(why)


def test_a_login_is_not_sent_to_a_misplaced_address(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def answered(self: wire.Wire, exchange: wire.Exchange, _seconds: float) -> requests.Response:
        sent.append(exchange.url)
        answer = requests.Response()
        answer.status_code = 401
        answer.headers["WWW-Authenticate"] = 'Bearer realm="http://r.example/token"'
        return answer

    monkeypatch.setattr(wire.Wire, "_once", answered)
    line = wire.Wire("https://r.example", lambda: Login("me", Secret(b"pw")), 30, 60)
    with pytest.raises(Failure, match="it was not sent"):
        line.send(wire.Exchange("GET", "/v2/"))

    assert sent == ["/v2/"]


def test_a_redirect_is_followed_without_the_token(settings: Settings, tmp_path: Path) -> None:
    elsewhere = (307, {"Location": "http://{address}/storage"}, b"")
    answers = [(401, {"WWW-Authenticate": 'Basic realm="r"'}, b""), elsewhere, found()]
    with server(answers) as (address, seen):
        auth = base64.b64encode(b"me:pw").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))
        assert resolve_digest(settings, f"{address}/a:v1") == DIGEST

    assert [(path, token) for _, path, token in seen][1:] == [
        ("/v2/a/manifests/v1", f"Basic {auth}"), ("/storage", ""),
    ]  # fmt: skip


def test_an_upload_that_is_sent_elsewhere_takes_no_token_along(settings: Settings) -> None:
    with server([(401, {"WWW-Authenticate": 'Basic realm="r"'}, b"")]) as (address, seen):
        line = wire.Wire("https://r.example", lambda: Login("me", Secret(b"pw")), 30, 60)
        assert line.send(wire.Exchange("PUT", f"http://{address}/upload")).status_code == 401

    assert [token for _, _, token in seen] == [""]
