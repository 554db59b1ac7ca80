"""Decrypting the files of an environment, against the sandbox's KMS."""

import errno
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.errors import Failure
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import Kms, Opened
from tasks.lib.redaction import Secret
from tasks.lib.secrets import crypt, plaintexts
from tasks.lib.secrets.files import secret_files
from tasks.lib.settings.model import Settings
from tasks.lib.signals import unwinding
from tests.kms_process import DEPLOYER, KEY_OWNER, KmsProcess, make_key
from tests.secrets_settings import PLAINTEXTS, sealed_checkout, settings_for

FOLDER = "kubernetes/overlays/staging/secrets"


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path) -> Settings:
    return sealed_checkout(kms, tmp_path)


def decrypt_all(settings: Settings) -> dict[str, Secret]:
    return crypt.decrypt_all(settings, settings.environment("staging"))


def test_every_file_comes_back_byte_for_byte(checkout: Settings) -> None:
    assert decrypt_all(checkout) == PLAINTEXTS


def test_files_are_decrypted_in_parallel(checkout: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is made before there is one for every file."""
    all_are_there, decrypt = threading.Barrier(len(PLAINTEXTS), timeout=120), Kms.decrypt

    def together(self: Kms, *arguments: Any) -> Opened:
        all_are_there.wait()
        return decrypt(self, *arguments)

    monkeypatch.setattr(Kms, "decrypt", together)
    assert decrypt_all(checkout) == PLAINTEXTS


def test_missing_files_come_with_the_command_to_add_them(checkout: Settings) -> None:
    (checkout.root / FOLDER / "lookit-secrets.env.enc").unlink()
    (checkout.root / FOLDER / "googleAppCreds.json.enc").write_bytes(b"")
    with pytest.raises(Failure) as failed:
        decrypt_all(checkout)
    assert str(failed.value) == (
        "2 of 4 secrets of staging could not be decrypted.\n"
        "  why:  - lookit-secrets.env: The encrypted file is missing.\n"
        f"          There is no {FOLDER}/lookit-secrets.env.enc.\n"
        "        - googleAppCreds.json: The encrypted file is empty.\n"
        f"          {FOLDER}/googleAppCreds.json.enc has no bytes.\n"
        "  next: The key's owner adds it: ./inv secrets.encrypt lookit-secrets.env --environment staging\n"
        "        The key's owner adds it: ./inv secrets.encrypt googleAppCreds.json --environment staging"
    )


def test_the_same_failure_of_all_files_is_said_once(kms: KmsProcess, checkout: Settings) -> None:
    kms.set_policy({DEPLOYER: []})
    with pytest.raises(Failure) as failed:
        decrypt_all(checkout)
    assert failed.value.what == "4 of 4 secrets of staging could not be decrypted."
    assert failed.value.why.splitlines()[0] == (
        "- lookit-secrets.env, lookit-rabbitmq.env, googleAppCreds.json, cloudsql-client-creds.json: "
        "You may not decrypt with the key kubernetes-secrets, or there is no such key."
    )
    assert failed.value.next_step.count("add-iam-policy-binding") == 1


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def replaced_by_text(path: Path) -> None:
    path.write_bytes(b"DB_PASSWORD=oops\n")


def test_plaintext_in_place_of_an_encrypted_file_is_called_so(checkout: Settings) -> None:
    replaced_by_text(checkout.root / FOLDER / "lookit-secrets.env.enc")
    with pytest.raises(Failure) as failed:
        decrypt_all(checkout)
    assert "/lookit-secrets.env.enc holds plaintext, not ciphertext." in failed.value.why.splitlines()[0]
    assert "oops" not in str(failed.value)


@pytest.mark.parametrize("spoil", [damaged, truncated])
def test_a_corrupt_file_is_named_among_good_ones(checkout: Settings, spoil: Any) -> None:
    spoil(checkout.root / FOLDER / "lookit-secrets.env.enc")
    with pytest.raises(Failure) as failed:
        decrypt_all(checkout)
    assert failed.value.what == "1 of 4 secrets of staging could not be decrypted."
    assert failed.value.why.splitlines()[0] == (
        "- lookit-secrets.env: The encrypted file is damaged, or not a ciphertext of Cloud KMS."
    )


def test_a_file_of_another_key_is_named(kms: KmsProcess, tmp_path: Path, checkout: Settings) -> None:
    make_key(kms, f"other-{tmp_path.name[-20:]}")
    files = {"lookit-secrets.env": f"other-{tmp_path.name[-20:]}"}
    settings = settings_for(kms, tmp_path, environments={"staging": {"secrets": {"files": files}}})
    with pytest.raises(Failure) as failed:
        decrypt_all(settings)
    assert "It was encrypted with another key than other-" in failed.value.why
    assert checkout.root == settings.root


def test_a_disabled_key_version_names_the_command_that_enables_it(kms: KmsProcess, tmp_path: Path) -> None:
    key = make_key(kms, f"short-lived-{tmp_path.name[-20:]}")
    files = dict.fromkeys(PLAINTEXTS, key)
    owner = settings_for(kms, tmp_path, KEY_OWNER, environments={"staging": {"secrets": {"files": files}}})
    from tasks.lib.secrets.crypt import encrypt_all

    encrypt_all(owner, owner.environment("staging"), PLAINTEXTS)
    kms.client().update_crypto_key_version(
        crypto_key_version={"name": f"{key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    settings = settings_for(kms, tmp_path, environments={"staging": {"secrets": {"files": files}}})
    with pytest.raises(Failure) as failed:
        decrypt_all(settings)
    assert "is disabled." in failed.value.why
    assert failed.value.next_step.startswith(
        "If it was disabled by mistake, the key's owner runs: gcloud kms keys versions enable 1 --key short-lived-"
    )


def test_plaintext_is_written_for_this_user_only(checkout: Settings) -> None:
    files = secret_files(checkout, checkout.environment("staging"))
    plaintexts.write(files, PLAINTEXTS)
    for file in files:
        assert file.plaintext.read_bytes() == PLAINTEXTS[file.name].reveal()
        assert file.plaintext.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "seconds", "edited"),
    [(b"MINE=1\n", 60, True), (b"MINE=1\n", -60, False), (None, 60, False)],
    ids=["edited", "decrypted before the encrypted file changed", "as it was decrypted"],
)
def test_an_edited_plaintext_is_not_overwritten(
    checkout: Settings, content: bytes | None, seconds: int, edited: bool
) -> None:
    staging = checkout.environment("staging")
    files = secret_files(checkout, staging)
    plaintexts.refuse_edited(staging, files, PLAINTEXTS)
    plaintexts.write(files, PLAINTEXTS)
    one = files[0]
    one.plaintext.write_bytes(content or PLAINTEXTS[one.name].reveal())
    moment = one.ciphertext.stat().st_mtime + seconds
    os.utime(one.plaintext, (moment, moment))

    if not edited:
        plaintexts.refuse_edited(staging, files, PLAINTEXTS)
        return
    with pytest.raises(Failure, match="were edited, so nothing was written") as failed:
        plaintexts.refuse_edited(staging, files, PLAINTEXTS)
    assert failed.value.why == f"- {one.plaintext} is newer than its .enc, and differs."
    assert failed.value.next_step.splitlines() == [
        f"./inv secrets.encrypt {one.name} --environment staging --source {one.plaintext}",
        "or, to discard the edits: ./inv decrypt --environment staging --overwrite",
    ]


def test_plaintext_that_git_would_see_is_not_written(checkout: Settings) -> None:
    subprocess.run(["git", "init", "-q"], cwd=checkout.root, check=True)
    (checkout.root / ".gitignore").write_text("*.env\n")
    files = secret_files(checkout, checkout.environment("staging"))
    with pytest.raises(Failure) as failed:
        plaintexts.write(files, PLAINTEXTS)
    assert failed.value.why == "\n".join(
        f"- {checkout.root}/{FOLDER}/{name} is not ignored."
        for name in ("googleAppCreds.json", "cloudsql-client-creds.json")
    )
    assert not any(file.plaintext.exists() for file in files)


def test_plaintext_that_git_ignores_is_written(checkout: Settings) -> None:
    subprocess.run(["git", "init", "-q"], cwd=checkout.root, check=True)
    (checkout.root / ".gitignore").write_text("*.env\n*.json\n")
    files = secret_files(checkout, checkout.environment("staging"))
    plaintexts.write(files, PLAINTEXTS)
    assert all(file.plaintext.exists() for file in files)


def test_leftovers_of_a_killed_decrypt_are_removed(checkout: Settings) -> None:
    files = secret_files(checkout, checkout.environment("staging"))
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = files[0].plaintext.with_name(f".{files[0].name}.{dead.pid}-abcd")
    left.write_bytes(b"DB_PASS")
    plaintexts.write(files, PLAINTEXTS)
    assert not left.exists()
    assert all(file.plaintext.exists() and file.ciphertext.exists() for file in files)


def test_earlier_plaintexts_that_cannot_be_removed_are_named(
    checkout: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = secret_files(checkout, checkout.environment("staging"))
    plaintexts.write(files, PLAINTEXTS)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(plaintexts, "write_atomically", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(Failure, match="cannot be written, and cannot be removed") as failed:
        plaintexts.write(files, PLAINTEXTS)
    assert f"{files[0].plaintext} of an earlier run is still there." in failed.value.why


def test_if_one_plaintext_cannot_be_written_none_is_left(checkout: Settings) -> None:
    files = secret_files(checkout, checkout.environment("staging"))
    files[2].plaintext.mkdir(parents=True)
    with pytest.raises(Failure, match="cannot be written, so none is left"):
        plaintexts.write(files[:2] + files[2:3], PLAINTEXTS)
    assert not any(file.plaintext.is_file() for file in files)


def test_a_signal_waits_until_every_plaintext_is_there(
    checkout: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = secret_files(checkout, checkout.environment("staging"))

    def interrupted(*arguments: Any) -> None:
        write_atomically(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("tasks.lib.secrets.plaintexts.write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt), unwinding():
        plaintexts.write(files, PLAINTEXTS)
    assert all(file.plaintext.exists() for file in files)
