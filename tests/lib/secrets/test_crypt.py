"""Encrypting the files of an environment, against the sandbox's KMS."""

import errno
import os
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.secrets.crypt import encrypt_all, overwrite
from tasks.lib.secrets.files import one_file
from tests.kms_process import KEY_OWNER, KmsProcess
from tests.secrets_settings import PLAINTEXTS, settings_for

FOLDER = "kubernetes/overlays/staging/secrets"


def test_only_given_files_are_encrypted_without_showing_values(kms: KmsProcess, tmp_path: Path) -> None:
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    given = {"lookit-secrets.env": PLAINTEXTS["lookit-secrets.env"]}
    encrypt_all(owner, owner.environment("staging"), given)
    (written,) = (tmp_path / FOLDER).iterdir()
    assert written.name == "lookit-secrets.env.enc"
    assert b"horse" not in written.read_bytes()


def test_if_one_file_fails_none_is_changed(kms: KmsProcess, tmp_path: Path) -> None:
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    before = {path: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()}
    kms.set_faults({"rpc": "Encrypt", "code": "RESOURCE_EXHAUSTED", "message": "Quota exceeded.", "skip": 2})
    with pytest.raises(Failure, match="2 of 4 secrets of staging could not be encrypted"):
        encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    assert {path: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()} == before


def test_the_deployer_cannot_encrypt(kms: KmsProcess, tmp_path: Path) -> None:
    deployer = settings_for(kms, tmp_path)
    with pytest.raises(Failure) as failed:
        encrypt_all(deployer, deployer.environment("staging"), PLAINTEXTS)
    assert "--role=roles/cloudkms.cryptoKeyEncrypter" in failed.value.next_step


def test_a_file_changed_since_opening_is_not_overwritten(kms: KmsProcess, tmp_path: Path) -> None:
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    file = one_file(owner, owner.environment("staging"), "lookit-secrets.env")
    opened = file.encrypted()
    overwrite(file, opened, b"new")
    with pytest.raises(Failure, match="has changed since it was opened"):
        overwrite(file, opened, b"over theirs")
    assert file.encrypted() == b"new"


def test_an_unwritable_file_does_not_stop_the_others(kms: KmsProcess, tmp_path: Path) -> None:
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    in_the_way = tmp_path / FOLDER / "lookit-rabbitmq.env.enc"
    in_the_way.mkdir(parents=True)
    with pytest.raises(Failure) as failed:
        encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    assert failed.value.what == "1 of 4 secrets of staging could not be written."
    assert f"{FOLDER}/lookit-rabbitmq.env.enc cannot be written, so it is unchanged." in failed.value.why
    assert len([path for path in (tmp_path / FOLDER).iterdir() if path.is_file()]) == 3


def test_a_full_disk_leaves_the_opened_file_unchanged(
    kms: KmsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    file = one_file(owner, owner.environment("staging"), "lookit-secrets.env")
    opened = file.encrypted()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="cannot be written, so it is unchanged"):
        overwrite(file, opened, b"new")
    assert file.encrypted() == opened
