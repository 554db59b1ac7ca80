"""Re-encryption that goes wrong where no checksum would notice: the old file stays."""

import itertools
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms
from tasks.lib.redaction import Secret
from tasks.lib.secrets import envelope, rotate
from tasks.lib.secrets.crypt import encrypt_all
from tasks.lib.secrets.envelope import Form
from tasks.lib.secrets.files import SecretFile, secret_files
from tasks.lib.settings.model import Settings
from tests.kms_process import KEY_OWNER, KmsProcess, make_key
from tests.secrets_settings import PLAINTEXTS, settings_for

BOTH = "both@lookit-sandbox.iam.gserviceaccount.com"
serial = itertools.count()


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path) -> Settings:
    """Staging's files under a key of their own, whose second version is the primary one now."""
    key = make_key(kms, f"again-{next(serial)}")
    ours = {"environments": {"staging": {"secrets": {"files": dict.fromkeys(PLAINTEXTS, key)}}}}
    owner = settings_for(kms, tmp_path, KEY_OWNER, **ours)
    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    kms.client().create_crypto_key_version(parent=key, crypto_key_version={})
    kms.client().update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    kms.grant(BOTH, "roles/cloudkms.cryptoKeyEncrypterDecrypter")
    return settings_for(kms, tmp_path, BOTH, **ours)


def files_of(checkout: Settings) -> list[SecretFile]:
    return secret_files(checkout, checkout.environment("staging"))


def contents(checkout: Settings) -> dict[str, bytes]:
    return {file.name: file.encrypted() for file in files_of(checkout)}


def wrongly_sealed(kms: Kms, file: SecretFile, _plaintext: Secret, form: Form) -> bytes:
    return envelope.seal(kms, file, Secret(b"something else"), form)


@pytest.mark.parametrize("task", ["rotate", "rekey"])
def test_a_wrong_re_encryption_never_replaces_the_file(
    kms: KmsProcess, checkout: Settings, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    before = contents(checkout)
    monkeypatch.setattr(rotate, "seal", wrongly_sealed)
    other = () if task == "rotate" else (make_key(kms, f"again-{next(serial)}"),)
    with pytest.raises(Failure) as failed:
        getattr(rotate, task)(checkout, files_of(checkout), *other)
    assert "The re-encrypted file does not decrypt to the same bytes." in failed.value.why
    assert contents(checkout) == before


def test_an_unused_primary_version_is_reported(kms: KmsProcess, checkout: Settings) -> None:
    """Cloud KMS may encrypt with the old one for hours: nothing may be called needless before."""
    rotate.rotate(checkout, files_of(checkout))
    kms.set_faults({"rpc": "Decrypt", "spoil": "used_primary"})
    with pytest.raises(Failure) as failed:
        rotate.rotate(checkout, files_of(checkout))
    assert failed.value.what == "4 of 4 secrets could not be rotated; ./inv secrets.rotate does the rest."
    assert "not with the primary version yet" in failed.value.why
    assert failed.value.next_step == "Run ./inv secrets.rotate again later."
