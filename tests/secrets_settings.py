"""Settings of a small checkout whose secrets a test may encrypt and decrypt with a running KMS."""

from pathlib import Path
from typing import Any

from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import encrypt_all
from tasks.lib.settings.model import Settings
from tests.builders import settings_in
from tests.kms_process import DEPLOYER, KEY_OWNER, KmsProcess

PLAINTEXTS = {
    "lookit-secrets.env": Secret(b"DB_PASSWORD=correct horse\nEMPTY=\n"),
    "lookit-rabbitmq.env": Secret(b"rabbitmq-erlang-cookie=biscuit\n"),
    "googleAppCreds.json": Secret(b'{\r\n\t"type": "service_account"\r\n}'),
    "cloudsql-client-creds.json": Secret(b"{}\x00\xff"),
}


def settings_for(kms: KmsProcess, root: Path, email: str = DEPLOYER, **overrides: Any) -> Settings:
    """invoke.yaml's settings over the folder `root`, with `kms` and the credentials of `email`."""
    google = {
        "credentials_file": str(kms.credentials_file(email)), "ca_file": str(kms.ca_file), "kms": kms.host,
    }  # fmt: skip
    return settings_in(root, {"google": google, **overrides})


def sealed_checkout(kms: KmsProcess, root: Path) -> Settings:
    """A checkout whose four staging files the key owner has encrypted; the deployer's settings for it."""
    owner = settings_for(kms, root, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    return settings_for(kms, root)
