"""The values of a build's secrets, from Secret Manager or Cloud KMS.

A variable of the same name wins, so that a developer can run a step without access to the secret.
"""

import base64
import os
from collections.abc import Collection, Mapping
from urllib.parse import quote

from tasks.lib.background import call
from tasks.lib.errors import Failure
from tasks.lib.pipeline.steps import Encrypted, Source
from tasks.lib.redaction import Secret
from tasks.lib.settings.model import Settings


def values(settings: Settings, sources: Mapping[str, Source], wanted: Collection[str]) -> dict[str, Secret]:
    """The values of the variables `wanted`; a Failure says how to give one by hand."""
    found = {name: Secret(os.fsencode(os.environ[name])) for name in wanted if name in os.environ}
    encrypted = {}
    for name in sorted({*wanted} - found.keys()):
        source = sources[name]
        if isinstance(source, Encrypted):
            encrypted[name] = source
        else:
            found[name] = fetch(settings, name, source)
    return {**found, **(decrypt(settings, encrypted) if encrypted else {})}


def decrypt(settings: Settings, encrypted: Mapping[str, Encrypted]) -> dict[str, Secret]:
    """Decrypt values that are in the build file."""
    from tasks.lib.kms.client import connected

    with connected(settings) as kms:
        return {name: kms.decrypt(one.key, one.ciphertext).plaintext for name, one in encrypted.items()}


def fetch(settings: Settings, name: str, version: str) -> Secret:
    """Read one version from Secret Manager and check its checksum."""
    import google_crc32c
    from requests import RequestException

    from tasks.lib.google.answers import object_in, refusal_words
    from tasks.lib.google.sessions import authorized_session

    url = f"{settings.google.secret_manager}/v1/{quote(version)}:access"
    try:
        session, limit = authorized_session(settings.google), settings.time_limits.registry_attempt
        answer = call(session.get, url, timeout=limit)
    except RequestException as error:
        raise _unreadable(name, version, str(error)) from error
    except Failure as failure:
        raise _unreadable(name, version, f"{failure.what} {failure.why}") from failure
    if not answer.ok:
        raise _unreadable(
            name, version, f"Secret Manager answered {answer.status_code}: {refusal_words(answer)}"
        )
    payload = object_in(answer, "Secret Manager").get("payload")
    if not payload:
        raise _unreadable(name, version, "Secret Manager's answer has no value")
    data = base64.b64decode(payload.get("data") or "")
    if "dataCrc32c" in payload and google_crc32c.value(data) != int(payload["dataCrc32c"]):
        raise _unreadable(name, version, "its checksum does not match its value")
    return Secret(data)


def _unreadable(name: str, version: str, why: str) -> Failure:
    return Failure(
        f"The secret {version} for {name} cannot be read.", why,
        f"Ask for roles/secretmanager.secretAccessor, or give the value yourself: {name}=… ./inv pipeline …",
    )  # fmt: skip
