"""Credentials for registries: from Docker's configuration, else, for Google's registries, this process's own.

Docker's configuration is asked first, because a person who logged in there meant it.  For Google's registries
an access token is the password of `oauth2accesstoken`, so neither gcloud nor its helper is needed.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lib import process
from tasks.lib.errors import Failure
from tasks.lib.image.reference import DOCKER_HUB
from tasks.lib.redaction import Secret
from tasks.lib.settings.model import Google

HELPER_SECONDS = 20
# Docker keeps the login for its own hub under this address.
HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    user: str
    password: Secret


def login(google: Google, registry: str, environ: Mapping[str, str] | None = None) -> Login | None:
    """The login for `registry`, or None where only anonymous access is left."""
    environ = os.environ if environ is None else environ
    found = from_docker(configuration(environ), registry)
    if found or not is_google(registry):
        return found
    return google_login(google)


@contextmanager
def docker_environment(google: Google, registry: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the variables with which `docker push` can log in to `registry`.

    Empty where Docker's own configuration has a login, or where there is none.  Otherwise a copy of the
    configuration with the token in it lies in `folder`, a private one that the caller removes.
    """
    present = configuration(os.environ)
    if from_docker(present, registry) or not is_google(registry):
        yield {}
        return
    found = google_login(google)
    plain = f"{found.user}:".encode() + found.password.reveal()
    auth = {"auth": base64.b64encode(plain).decode()}
    merged = {**present, "auths": {**present.get("auths", {}), registry: auth}}
    merged["credHelpers"] = {k: v for k, v in present.get("credHelpers", {}).items() if k != registry}
    merged.pop("credsStore", None)
    target = folder / "config.json"
    target.touch(mode=0o600)
    target.write_text(json.dumps(merged))
    own = configuration_folder(os.environ)
    if (own / "contexts").is_dir():
        (folder / "contexts").symlink_to(own / "contexts")
    yield {"DOCKER_CONFIG": str(folder), **_certificates(own, os.environ)}


def _certificates(own: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Where Docker's client looks for its certificates unless told: beside its own configuration."""
    is_asked_for = environ.get("DOCKER_TLS_VERIFY") or environ.get("DOCKER_TLS")
    return {"DOCKER_CERT_PATH": str(own)} if is_asked_for and not environ.get("DOCKER_CERT_PATH") else {}


def is_google(registry: str) -> bool:
    """Whether Google serves this registry."""
    return registry == "gcr.io" or registry.endswith((".gcr.io", ".pkg.dev"))


def google_login(google: Google) -> Login:
    """This process's own access token, in the form that Google's registries take."""
    from tasks.lib.google.credentials import credentials, refresh

    found = credentials(google)
    refresh(found)
    return Login("oauth2accesstoken", Secret(str(found.token).encode()))


def configuration_folder(environ: Mapping[str, str]) -> Path:
    """Where Docker's client keeps its configuration."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path's raises where nobody knows it
    return Path(environ.get("DOCKER_CONFIG") or Path(home) / ".docker")


def configuration(environ: Mapping[str, str]) -> dict[str, Any]:
    """Docker's configuration file, without sections that are null; empty where there is none."""
    path = configuration_folder(environ) / "config.json"
    try:
        text = path.read_text().strip()
        present = _sections(json.loads(text or "{}"))
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise Failure(
            f"{path} is not a Docker configuration.", str(error), "Fix it, or `docker login` again."
        ) from error
    return present


def _sections(read: object) -> dict[str, Any]:
    """What a configuration says, without what is null."""
    present = (
        {name: held for name, held in read.items() if held is not None} if isinstance(read, dict) else None
    )
    if present is None or any(
        not isinstance(present.get(name, {}), dict) for name in ("auths", "credHelpers")
    ):
        raise ValueError("It should be an object, and so should auths and credHelpers in it.")
    return present


def from_docker(config: Mapping[str, Any], registry: str) -> Login | None:
    """The login that Docker's configuration holds for `registry`, itself or through a helper."""
    key = HUB_KEY if registry == DOCKER_HUB else registry
    helper = config.get("credHelpers", {}).get(key) or config.get("credsStore", "")
    program = f"docker-credential-{helper}"
    if helper and shutil.which(program):
        return _from_helper(program, key)
    return _stored(config.get("auths", {}), key)


def _stored(logins: Mapping[str, Any], key: str) -> Login | None:
    """The login for `key` itself, else for an address at that host, such as `https://gcr.io`."""
    at_host = (held for address, held in logins.items() if _host(address) == key)
    held = logins.get(key) or next(at_host, None) or {}
    try:
        if not held.get("auth"):
            return None
        user, _, password = base64.b64decode(held["auth"]).partition(b":")
        return Login(user.decode(), Secret(password))
    except (ValueError, TypeError, AttributeError):  # from None: they quote what they could not read
        raise Failure(
            f"The login for {key} in Docker's configuration cannot be read.", "", f"docker login {key}"
        ) from None


def _host(address: str) -> str:
    return address.rpartition("://")[2].partition("/")[0]


def _from_helper(program: str, key: str) -> Login | None:
    """The login that a helper has; None where it says that it has none."""
    try:
        done = process.run((program, "get"), time_limit=HELPER_SECONDS, stdin=key.encode())
    except Failure as failure:
        if "credentials not found" in failure.why:
            return None
        raise
    try:
        answer = json.loads(done.stdout)
        return Login(answer["Username"], Secret(answer["Secret"].encode()))
    except (ValueError, KeyError, TypeError, AttributeError):  # from None, as above
        raise Failure(
            f"{program} gave no login for {key}.",
            "Its answer has no Username and Secret.",
            f"docker login {key}",
        ) from None
