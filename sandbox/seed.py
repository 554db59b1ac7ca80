"""Secrets for the sandbox: a placeholder for every expected key, encrypted as real ones are."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sandbox import placeholders
from sandbox.cloud import accounts, secret_manager, sql
from sandbox.placeholders import Site
from sandbox.state import State
from tasks.lib.redaction import Secret

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

PROJECT = "lookit-sandbox"
# As in Google's own key files: on a real node this name leads to the sandbox.
SIGN_IN = "https://oauth2.googleapis.com/token"
# The site's service accounts, and what each may do. Storage asks for no permission.
ACCOUNTS = {
    "application": (),
    "database-client": ("cloudsql.instances.connect", "cloudsql.instances.get"),
}


def sow(settings: "Settings", here: State, environments: "Sequence[Environment]") -> None:
    """Create the KMS keys, encrypted files and build secrets that are missing.

    `settings` are those of the checkout, without the sandbox's overlay.
    """
    from tasks.lib.secrets.crypt import encrypt_all
    from tasks.lib.secrets.files import known_files

    owner = _as_key_owner(settings, here)
    for environment in environments:
        for secret in settings.pipeline.secrets:
            secret_manager.register(
                here.google, environment.project, secret, Secret(placeholders.any_text().encode())
            )
        sealed = owner.environment(environment.name)
        missing = [file for file in known_files(owner, sealed) if not file.ciphertext.exists()]
        if missing:
            make_keys(owner, {file.key for file in missing})
            expected = settings.tree / environment.secrets.plaintexts
            site = site_of(here, environment)
            made = {
                file.name: placeholders.content(expected / f"{file.name}.expected", site) for file in missing
            }
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


def site_of(here: State, environment: "Environment") -> Site:
    """What the placeholders of an environment name; its service accounts are created when missing."""
    keys = {
        name: accounts.create(here.google, name, PROJECT, SIGN_IN, permissions)
        for name, permissions in ACCOUNTS.items()
    }
    database = environment.database
    login = sql.login(here.google, database.project, database.name) if database.instance else sql.new_login()
    return Site(environment.prefix, environment.project, environment.buckets.archives, login, keys)


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
