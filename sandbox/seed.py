"""Secrets for the sandbox: a placeholder for every key that an environment expects, encrypted as real ones
are.
"""

import json
import secrets as random_values
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sandbox.cloud import secret_manager
from sandbox.state import State
from tasks.lib.redaction import Secret

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

KEY_OWNER_FILE = "key-owner.json"


def sow(settings: "Settings", here: State, environments: "Sequence[Environment]") -> None:
    """Make the KMS keys, encrypted files and build secrets that are missing; what was made before stays.

    Args:
        settings: those of the checkout, not yet turned towards the sandbox.
        here: a sandbox whose servers are well.
        environments: whose secrets are needed.

    Raises:
        Failure: the KMS refuses.

    """
    from tasks.lib.secrets.crypt import encrypt_all
    from tasks.lib.secrets.files import known_files

    owner = _as_key_owner(settings, here)
    for environment in environments:
        for secret in settings.pipeline.secrets:
            secret_manager.register(here.google, environment.project, secret, Secret(_value(secret).encode()))
        sealed = owner.environment(environment.name)
        missing = [file for file in known_files(owner, sealed) if not file.ciphertext.exists()]
        if missing:
            make_keys(owner, {file.key for file in missing})
            expected = settings.tree / environment.secrets.plaintexts
            made = {file.name: placeholder(expected / f"{file.name}.expected") for file in missing}
            encrypt_all(owner, sealed, made)


def make_keys(settings: "Settings", keys: "set[str]") -> None:
    """Create the key ring and the keys in the KMS that `settings` lead to, where they are missing.

    Args:
        settings: where the KMS is, and credentials that may administer it.
        keys: keys of the ring, or full resource names.

    """
    from google.api_core.exceptions import AlreadyExists

    client = _administration(settings)
    for key in sorted(keys):
        ring, _, name = settings.kms.key_name(key).rpartition("/cryptoKeys/")
        location, _, ring_id = ring.rpartition("/keyRings/")
        with suppress(AlreadyExists):
            client.create_key_ring(parent=location, key_ring_id=ring_id, key_ring={})
        with suppress(AlreadyExists):
            purpose = {"purpose": "ENCRYPT_DECRYPT"}
            client.create_crypto_key(parent=ring, crypto_key_id=name, crypto_key=purpose)
    client.transport.close()


def placeholder(expected: Path) -> Secret:
    """Believable content for the file that `expected` describes.

    Args:
        expected: a `.env` with keys and no values, or JSON with empty values; where it is missing, any text.

    Returns:
        The same keys with random values.

    """
    if not expected.exists():
        return Secret(f"placeholder-{random_values.token_hex(16)}\n".encode())
    text = expected.read_text()
    if expected.name.removesuffix(".expected").endswith(".json"):
        filled = {key: _value(key) for key in json.loads(text)}
        return Secret(json.dumps(filled, indent=2).encode())
    lines = [line.strip() for line in text.splitlines()]
    keys = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    return Secret("".join(f"{key}={_value(key)}\n" for key in keys).encode())


def _value(key: str) -> str:
    fixed = {"type": "service_account", "project_id": "lookit-sandbox"}
    return fixed.get(key, f"placeholder-{random_values.token_hex(12)}")


def _as_key_owner(settings: "Settings", here: State) -> "Settings":
    """The settings of the one person who may encrypt: the sandbox's addresses, the key owner's
    credentials.
    """
    from sandbox.overlay import values

    found = values(here, list(settings.environments))
    google: dict[str, Any] = {**found["google"], "credentials_file": str(here.google / KEY_OWNER_FILE)}
    environments = {
        name: replace(
            environment,
            secrets=replace(environment.secrets, ciphertexts=str(here.ciphertexts(name))),
        )
        for name, environment in settings.environments.items()
    }
    replaced = replace(settings.google, **google)
    return replace(settings, google=replaced, environments=environments)


def _administration(settings: "Settings") -> Any:
    """google-cloud-kms's client, for what only a key owner does."""
    import grpc
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

    from tasks.lib.google.credentials import credentials

    authority = Path(settings.google.ca_file).read_bytes()
    transport = KeyManagementServiceGrpcTransport(
        host=settings.google.kms,
        credentials=credentials(settings.google),
        ssl_channel_credentials=grpc.ssl_channel_credentials(authority),
    )
    return KeyManagementServiceClient(transport=transport)
