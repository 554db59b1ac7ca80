"""What --sandbox changes in the settings, and what the seeds look like."""

import json
from pathlib import Path
from urllib.request import proxy_bypass

import pytest

from sandbox import overlay
from sandbox.state import State
from tasks.lib.errors import Failure
from tasks.lib.settings.reader import Layer


def test_addresses_credentials_and_encrypted_files_are_the_sandboxs(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text(json.dumps({"google": 1, "storage": 2, "kms": 3}))

    assert overlay.values(State(tmp_path), ["staging"]) == {
        "google": {
            "credentials_file": f"{tmp_path}/google/deployer.json",
            "encrypter_credentials_file": f"{tmp_path}/google/key-owner.json",
            "ca_file": f"{tmp_path}/tls/ca.crt",
            "kms": "127.0.0.1:3",
            "container": "http://127.0.0.1:1",
            "sql_admin": "http://127.0.0.1:1",
            "secret_manager": "http://127.0.0.1:1",
            "storage": "http://127.0.0.1:2",
        },
        "environments": {"staging": {"secrets": {"ciphertexts": f"{tmp_path}/ciphertexts/staging"}}},
    }


def test_an_environment_that_has_no_encrypted_files_gets_none() -> None:
    secrets = {"staging": {"ciphertexts": ""}, "production": {"ciphertexts": "kubernetes/secrets"}, "qa": {}}
    so_far = {"environments": {name: {"secrets": section} for name, section in secrets.items()}}

    assert overlay.with_encrypted_files({**so_far}) == ["production", "qa"]
    assert overlay.with_encrypted_files({"environments": {"broken": "text"}}) == ["broken"]


HERE = {"elsewhere": False}
FAR = {"elsewhere": False, "resolve": False}


@pytest.mark.parametrize(
    ("repository", "own", "expected"),
    [
        ("127.0.0.1:5000/lookit", "", {"registry": HERE}),
        ("gcr.io/a/lookit", "", {"registry": FAR}),
        (
            "gcr.io/a/lookit",
            "localhost:7",
            {"image": {"repository": "localhost:7/a/lookit"}, "registry": HERE},
        ),
        ("gcr.io/a/lookit", "r.example", {"image": {"repository": "r.example/a/lookit"}, "registry": FAR}),
        ("", "", {"registry": FAR}),
    ],
    ids=["on this machine", "out in the world", "the sandbox's own", "another out in the world", "none"],
)
def test_the_sandbox_does_not_use_remote_registries(
    repository: str, own: str, expected: dict[str, object]
) -> None:
    so_far = {"image": {"repository": repository}, "sandbox": {"registry": own}}

    assert overlay.image_values(so_far) == expected


def test_without_a_sandbox_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failure:
        overlay.settings_overlay(tmp_path, [Layer("file", {"sandbox": {"state": "here"}})])

    assert failure.value.why == f"Nothing runs for {tmp_path}/here."
    assert failure.value.next_step == "./inv sandbox.up"


def test_no_proxy_is_asked_for_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a network with a proxy, whoever says nothing of this machine would reach no part of it."""
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(Failure):
        overlay.settings_overlay(tmp_path, [Layer("file", {"sandbox": {"state": "here"}})])

    assert proxy_bypass("127.0.0.1")
    assert proxy_bypass("localhost")


@pytest.mark.parametrize(
    ("said", "lower", "upper"),
    [
        ({}, "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"),
        ({"no_proxy": "a.example"}, "a.example,localhost,127.0.0.1,::1", "a.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "b, 127.0.0.1"}, "b,127.0.0.1,localhost,::1", "b,127.0.0.1,localhost,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1", "b,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": " *"}, "*", "*"),
    ],
    ids=["nothing said", "in small letters", "in capitals", "both", "everything"],
)
def test_this_machine_joins_what_no_proxy_is_asked_for(said: dict[str, str], lower: str, upper: str) -> None:
    overlay.spare_this_machine(said)

    assert said == {"no_proxy": lower, "NO_PROXY": upper}


def test_sparing_twice_is_sparing_once() -> None:
    environ = {"no_proxy": "a"}
    overlay.spare_this_machine(environ)
    once = dict(environ)
    overlay.spare_this_machine(environ)

    assert environ == once
