"""Registries that speak TLS, on this machine and with an authority of one's own."""

from pathlib import Path

import pytest

from sandbox import certificates
from sandbox.certificates import Pair
from tasks.lib.errors import Failure, UsageError
from tasks.lib.image.registry import scheme
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings
from tests.lib.image.memory_registry import resolve_digest, serving


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return certificates.authority(tmp_path, "own")


def issued(authority: Pair, host: str) -> Pair:
    certificates.issue(authority, "server", "registry", hosts=[host])
    return certificates.pair(authority.certificate.parent, "server")


def trusting(file: Path | str) -> Settings:
    limits = {"registry_attempt": "30s", "registry": "60s"}
    return checked_in_settings(registry={"ca_file": str(file)}, time_limits=limits)


def test_a_registry_on_this_machine_may_speak_tls(authority: Pair) -> None:
    with serving(issued(authority, "127.0.0.1")) as held:
        digest = held.image("a", "layer", "v1")

        assert resolve_digest(trusting(authority.certificate), f"{held.address}/a:v1") == digest


def test_a_local_registry_without_tls_uses_http() -> None:
    with serving() as held:
        assert scheme(trusting(""), held.address) == "http"
        assert held.asked == []


def test_an_authority_that_nobody_named_is_not_trusted(authority: Pair) -> None:
    with serving(issued(authority, "127.0.0.1")) as held, pytest.raises(Failure) as caught:
        resolve_digest(trusting(""), f"{held.address}/a:v1")

    assert caught.value.what == f"The registry at https://{held.address} cannot be reached."
    assert "export INVOKE_REGISTRY_CA_FILE=FILE" in caught.value.next_step
    assert held.asked == []


def test_a_certificate_for_another_host_is_explained(authority: Pair) -> None:
    with serving(issued(authority, "other.example")) as held, pytest.raises(Failure) as caught:
        resolve_digest(trusting(authority.certificate), f"{held.address}/a:v1")

    assert caught.value.next_step == (
        "Name the registry as its certificate does: "
        f"openssl s_client -connect {held.address} </dev/null | openssl x509 -noout -ext subjectAltName"
    )


def test_a_missing_or_empty_ca_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        with pytest.raises(UsageError, match=f"cannot be read from {tmp_path / name}") as caught:
            resolve_digest(trusting(tmp_path / name), "registry.example/a:v1")
        assert "registry.ca_file" in caught.value.next_step
