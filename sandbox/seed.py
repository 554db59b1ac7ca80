"""Secrets for the sandbox: a placeholder for every expected key, encrypted as real ones are."""

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


def sow(settings: "Settings", here: State, environments: "Sequence[Environment]") -> None:
    """Create the KMS keys, encrypted files and build secrets that are missing.

    `settings` are those of the checkout, without the sandbox's overlay.
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
    """Create the key ring and the `keys` (of the ring, or full names) that the KMS of `settings` lacks."""
    from google.api_core.exceptions import AlreadyExists

    client = administration(settings)
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
    """Random values for the keys that `expected` (a `.env`, or JSON) lists; any text where it is missing."""
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
    """The settings of the one account that may encrypt: the sandbox's addresses, the key owner's key file."""
    from sandbox.overlay import values

    google: dict[str, Any] = dict(values(here, (), "key-owner")["google"])
    environments = {
        name: replace(one, secrets=replace(one.secrets, ciphertexts=str(here.ciphertexts(name))))
        for name, one in settings.environments.items()
    }
    return replace(settings, google=replace(settings.google, **google), environments=environments)


def administration(settings: "Settings") -> Any:
    """google-cloud-kms's client, for what only a key owner does."""
    import grpc
    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service import transports

    from tasks.lib.google.credentials import credentials

    authority = Path(settings.google.ca_file).read_bytes()
    transport = transports.KeyManagementServiceGrpcTransport(
        host=settings.google.kms,
        credentials=credentials(settings.google),
        ssl_channel_credentials=grpc.ssl_channel_credentials(authority),
    )
    return KeyManagementServiceClient(transport=transport)
