"""Logins for registries: Docker's configuration first, then Google's token."""

import base64
import json
import os
import pwd
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from tasks.lib.errors import Failure
from tasks.lib.image.credentials import (
    Login,
    configuration_folder,
    docker_environment,
    from_docker,
    is_google,
    login,
)
from tasks.lib.redaction import Secret
from tests.builders import checked_in_settings

GOOGLE = checked_in_settings().google


def config(folder: Path, content: object) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(content))
    return {"DOCKER_CONFIG": str(folder), "HOME": "/nonexistent"}


def stored(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_login_in_the_configuration_is_found(tmp_path: Path) -> None:
    environ = config(tmp_path, {"auths": {"r.example": stored("me", "se:cret")}})

    assert login(GOOGLE, "r.example", environ) == Login("me", Secret(b"se:cret"))


def test_a_login_is_found_under_the_address_that_was_typed(tmp_path: Path) -> None:
    """Google's pages say `docker login https://…`, and Docker keeps what was typed."""
    environ = config(tmp_path, {"auths": {"https://gcr.io": stored("_json_key", "{}")}})

    assert login(GOOGLE, "gcr.io", environ) == Login("_json_key", Secret(b"{}"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "{}",
        '{"auths": null, "credHelpers": null, "credsStore": null}',
        '{"auths": {"r.example": null}}',
    ],
)
def test_an_empty_configuration_is_no_problem(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    assert login(GOOGLE, "r.example", {"DOCKER_CONFIG": str(tmp_path)}) is None


@pytest.mark.parametrize(
    "kept",
    [
        {"auth": "YQ"},
        {"auth": base64.b64encode(b"\xff:canary").decode()},
        {"auth": 5},
    ],
)
def test_an_unreadable_login_is_named_and_not_shown(tmp_path: Path, kept: object) -> None:
    environ = config(tmp_path, {"auths": {"r.example": kept}})

    with pytest.raises(
        Failure, match=r"The login for r\.example in Docker's configuration cannot be read"
    ) as failure:
        login(GOOGLE, "r.example", environ)

    assert "canary" not in str(failure.value)


@pytest.mark.parametrize("answer", ["canary", "{}", "[]", '{"Username": "canary", "Secret": null}'])
def test_a_broken_credential_helper_is_named_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    helper = tmp_path / "docker-credential-odd"
    helper.write_text(f"#!/bin/sh\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(Failure, match="docker-credential-odd gave no login for r.example") as failure:
        from_docker({"credsStore": "odd"}, "r.example")

    assert "canary" not in str(failure.value)


def test_docker_hub_has_an_address_of_its_own(tmp_path: Path) -> None:
    environ = config(tmp_path, {"auths": {"https://index.docker.io/v1/": stored("me", "x")}})

    assert login(GOOGLE, "docker.io", environ) == Login("me", Secret(b"x"))


def test_without_a_login_access_is_anonymous(tmp_path: Path) -> None:
    assert login(GOOGLE, "r.example", {"DOCKER_CONFIG": str(tmp_path)}) is None


def test_a_helper_is_asked_and_its_answer_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-probe"
    helper.write_text('#!/bin/sh\nread server\nprintf \'{"Username": "u", "Secret": "%s"}\' "$server"\n')
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert from_docker({"credHelpers": {"r.example": "probe"}}, "r.example") == Login(
        "u", Secret(b"r.example")
    )


def test_a_helper_without_a_login_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-empty"
    helper.write_text("#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert from_docker({"credsStore": "empty"}, "r.example") is None


def test_a_helper_that_is_not_installed_is_passed_over() -> None:
    assert from_docker({"credHelpers": {"gcr.io": "not-installed"}}, "gcr.io") is None


def test_a_helper_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-broken"
    helper.write_text("#!/bin/sh\necho 'the keychain is locked' >&2\nexit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(Failure) as failure:
        from_docker({"credsStore": "broken"}, "r.example")

    assert failure.value.why == "the keychain is locked"


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}'])
def test_a_broken_configuration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(Failure, match="config.json is not a Docker configuration"):
        login(GOOGLE, "r.example", {"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("gcr.io", True),
        ("us.gcr.io", True),
        ("us-east1-docker.pkg.dev", True),
        ("evilgcr.io", False),
        ("docker.io", False),
    ],
)
def test_google_registries_are_known(registry: str, expected: bool) -> None:
    assert is_google(registry) is expected


def test_docker_keeps_its_own_configuration_where_it_has_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = config(tmp_path, {"auths": {"gcr.io": stored("me", "x")}})
    monkeypatch.setenv("DOCKER_CONFIG", environ["DOCKER_CONFIG"])

    with docker_environment(GOOGLE, "gcr.io", tmp_path / "unused") as env:
        assert env == {}


def test_registries_of_google_use_the_own_credentials_by_default(tmp_path: Path) -> None:
    google = replace(GOOGLE, credentials_file=str(tmp_path / "absent.json"))

    with pytest.raises(Failure, match="No credentials for Google Cloud were found."):
        login(google, "gcr.io", {"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("has_contexts", [True, False])
def test_docker_gets_this_process_s_token_in_a_private_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_contexts: bool
) -> None:
    own, private = tmp_path / "own", tmp_path / "private"
    own.mkdir()
    if has_contexts:
        (own / "contexts").mkdir()
    private.mkdir(mode=0o700)
    environ = config(
        own, {"credsStore": "gone", "credHelpers": {"gcr.io": "gone", "x": "y"}, "currentContext": "c"}
    )
    monkeypatch.setenv("DOCKER_CONFIG", environ["DOCKER_CONFIG"])
    monkeypatch.setattr(
        "tasks.lib.image.credentials.google_login", lambda _: Login("oauth2accesstoken", Secret(b"token"))
    )

    with docker_environment(GOOGLE, "gcr.io", private) as env:
        assert env == {"DOCKER_CONFIG": str(private)}
        written = json.loads((private / "config.json").read_text())

    assert written == {
        "auths": {"gcr.io": stored("oauth2accesstoken", "token")}, "credHelpers": {"x": "y"}, "currentContext": "c",
    }  # fmt: skip
    assert (private / "config.json").stat().st_mode & 0o777 == 0o600
    assert (private / "contexts").is_dir() == has_contexts


@pytest.mark.parametrize(
    ("variables", "certificates"),
    [
        ({"DOCKER_TLS_VERIFY": "1"}, "{own}"),
        ({"DOCKER_TLS": "1"}, "{own}"),
        ({"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certificates"}, None),
        ({}, None),
    ],
)
def test_docker_still_finds_the_certificates_beside_its_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], certificates: str | None
) -> None:
    """Where DOCKER_CONFIG leads elsewhere, it would look for them there too."""
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "tasks.lib.image.credentials.google_login", lambda _: Login("oauth2accesstoken", Secret(b"token"))
    )

    with docker_environment(GOOGLE, "gcr.io", private) as env:
        assert env.get("DOCKER_CERT_PATH") == (certificates and certificates.format(own=tmp_path))


def test_without_home_docker_s_configuration_is_where_docker_looks_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a unit of systemd: the system's own list of users says it."""
    monkeypatch.delenv("HOME")

    assert configuration_folder(os.environ) == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".docker"
