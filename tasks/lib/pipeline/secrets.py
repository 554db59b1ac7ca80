"""The values of a build's secrets: this process's variables first, then Secret Manager.

A variable of the same name wins, so that a developer can run one step without the right to read the secret.
"""

import base64
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

PLACEHOLDER = Secret(b"sandbox-placeholder")


def values(
    settings: "Settings", versions: Mapping[str, str], wanted: Iterable[str], *, sandbox: bool
) -> dict[str, Secret]:
    """The values of the variables `wanted`.

    Args:
        settings: how Secret Manager is reached.
        versions: the resource name of the version behind each variable.
        wanted: the variables that chosen steps ask for.
        sandbox: Secret Manager has no part in a rehearsal; there a placeholder stands in.

    Raises:
        Failure: a value is not to be had; the message says how to give it by hand.

    """
    found: dict[str, Secret] = {}
    for name in sorted(set(wanted)):
        if name in os.environ:
            found[name] = Secret(os.environ[name].encode())
        elif sandbox:
            found[name] = PLACEHOLDER
        else:
            found[name] = fetch(settings, name, versions[name])
    return found


def fetch(settings: "Settings", name: str, version: str) -> Secret:
    """Read one version from Secret Manager and check its checksum.

    Raises:
        Failure: it cannot be read, or arrived damaged.

    """
    import google_crc32c
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    from tasks.lib.credentials import authorized_session

    url = f"{settings.google.secret_manager}/v1/{quote(version)}:access"
    try:
        answer = authorized_session(settings.google).get(url, timeout=settings.time_limits.registry_attempt)
    except (GoogleAuthError, RequestException) as error:
        raise _unreadable(name, version, str(error)) from error
    if not answer.ok:
        raise _unreadable(name, version, f"Secret Manager answered {answer.status_code}: {answer.text[:200]}")
    payload = answer.json()["payload"]
    data = base64.b64decode(payload["data"])
    if "dataCrc32c" in payload and google_crc32c.value(data) != int(payload["dataCrc32c"]):
        raise _unreadable(name, version, "its checksum does not fit its value")
    return Secret(data)


def _unreadable(name: str, version: str, why: str) -> Failure:
    return Failure(
        f"The secret {version} for {name} cannot be read.", why,
        f"Ask for roles/secretmanager.secretAccessor, or give the value yourself: {name}=… ./inv pipeline …",
    )  # fmt: skip
