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
from typing import TYPE_CHECKING, Any

from tasks.lib import process
from tasks.lib.errors import Failure
from tasks.lib.image.reference import DOCKER_HUB
from tasks.lib.redaction import Secret

if TYPE_CHECKING:
    from tasks.lib.settings.model import Google

HELPER_SECONDS = 20
# Docker keeps the login for its own hub under this address.
HUB_KEY = "https://index.docker.io/v1/"
TOKEN_USER = "<token>"  # what helpers call the user of an identity token  # noqa: S105


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    user: str
    password: Secret


def login(google: "Google", registry: str, environ: Mapping[str, str] | None = None) -> Login | None:
    """The login for `registry`, or None where only anonymous access is left.

    Raises:
        Failure: a credential helper or Google's token endpoint failed.

    """
    environ = os.environ if environ is None else environ
    found = from_docker(configuration(environ), registry)
    if found or not is_google(registry):
        return found
    return google_login(google)


@contextmanager
def docker_environment(google: "Google", registry: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the variables with which `docker push` can log in to `registry`.

    Empty where Docker's own configuration has a login, or where none is to be had.  Otherwise a copy of the
    configuration with the token in it lies in `folder`, a private one that the caller removes.

    Raises:
        Failure: as `login`.

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
    contexts = configuration_folder(os.environ) / "contexts"
    if contexts.is_dir():
        (folder / "contexts").symlink_to(contexts)
    yield {"DOCKER_CONFIG": str(folder)}


def is_google(registry: str) -> bool:
    """Whether Google serves this registry."""
    return registry == "gcr.io" or registry.endswith((".gcr.io", ".pkg.dev"))


def google_login(google: "Google") -> Login:
    """This process's own access token, in the form that Google's registries take."""
    from tasks.lib.credentials import credentials, refresh

    found = credentials(google)
    refresh(found)
    return Login("oauth2accesstoken", Secret(str(found.token).encode()))


def configuration_folder(environ: Mapping[str, str]) -> Path:
    """Where Docker's client keeps its configuration."""
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/")) / ".docker")


def configuration(environ: Mapping[str, str]) -> dict[str, Any]:
    """Docker's configuration file; empty where there is none.

    Raises:
        Failure: it is not valid JSON.

    """
    path = configuration_folder(environ) / "config.json"
    try:
        read: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise Failure(
            f"{path} is not valid JSON.", str(error), "Mend it, or `docker login` again."
        ) from error
    return read


def from_docker(config: Mapping[str, Any], registry: str) -> Login | None:
    """The login that Docker's configuration holds for `registry`, itself or through a helper."""
    key = HUB_KEY if registry == DOCKER_HUB else registry
    helper = config.get("credHelpers", {}).get(key) or config.get("credsStore", "")
    program = f"docker-credential-{helper}"
    if helper and shutil.which(program):
        return _from_helper(program, key)
    stored = config.get("auths", {}).get(key, {}).get("auth", "")
    if not stored:
        return None
    user, _, password = base64.b64decode(stored).partition(b":")
    return Login(user.decode(), Secret(password))


def _from_helper(program: str, key: str) -> Login | None:
    """Ask a helper; one that has no login says so and fails, which is no fault."""
    try:
        done = process.run((program, "get"), time_limit=HELPER_SECONDS, stdin=key.encode())
    except Failure as failure:
        if "credentials not found" in failure.why:
            return None
        raise
    answer = json.loads(done.stdout)
    return Login(answer["Username"], Secret(answer["Secret"].encode()))
