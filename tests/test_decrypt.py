"""`invoke decrypt` as a whole: the program against the real KMS process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clock import Clock
from tests.kms_process import DEPLOYER, KmsProcess
from tests.program import Ended, Here
from tests.secrets_settings import PLAINTEXTS, sealed_checkout

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "kubernetes/overlays/staging/secrets"


@pytest.fixture
def decrypt(kms: KmsProcess, tmp_path: Path, here: Here) -> Callable[..., Ended]:
    """Runs plain Invoke over the sealed checkout in this test's folder."""

    def run(*arguments: str, **variables: str) -> Ended:
        return here.plain("decrypt", *arguments, **settings(kms, tmp_path), **variables)

    return run


def settings(kms: KmsProcess, checkout: Path) -> dict[str, str]:
    return {
        "INVOKE_GOOGLE_CREDENTIALS_FILE": str(kms.credentials_file(DEPLOYER)),
        "INVOKE_GOOGLE_CA_FILE": str(kms.ca_file),
        "INVOKE_GOOGLE_KMS": kms.host,
        "INVOKE_ENVIRONMENTS_STAGING_SECRETS_CIPHERTEXTS": str(checkout / FOLDER),
        "INVOKE_KUSTOMIZE_TREE": str(checkout / "kubernetes"),
        "INVOKE_TIME_LIMITS_KMS": "120s",
    }


def test_decrypt_writes_every_file_and_keeps_quiet_about_contents(
    kms: KmsProcess, tmp_path: Path, decrypt: Callable[..., Ended]
) -> None:
    sealed_checkout(kms, tmp_path)
    done = decrypt("--environment", "staging")
    assert (done.code, done.stdout) == (0, "")
    for name, plaintext in PLAINTEXTS.items():
        written = tmp_path / FOLDER / name
        assert (written.read_bytes(), written.stat().st_mode & 0o777) == (plaintext.reveal(), 0o600)
        assert f"{written}: {len(plaintext)} bytes" in done.stderr
    assert "horse" not in done.stderr


def test_an_edited_file_is_kept_until_overwrite_is_given(
    kms: KmsProcess, tmp_path: Path, decrypt: Callable[..., Ended]
) -> None:
    sealed_checkout(kms, tmp_path)
    edited = tmp_path / FOLDER / "lookit-secrets.env"
    edited.write_text("DB_PASSWORD=mine\n")
    refused = decrypt("--environment", "staging")
    assert (refused.code, edited.read_text()) == (1, "DB_PASSWORD=mine\n")
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".enc", ".env"}
    assert "mine" not in refused.stderr
    assert decrypt("--environment", "staging", "--overwrite").code == 0
    assert edited.read_bytes() == PLAINTEXTS[edited.name].reveal()


def test_one_bad_file_means_no_file(kms: KmsProcess, tmp_path: Path, decrypt: Callable[..., Ended]) -> None:
    sealed_checkout(kms, tmp_path)
    (tmp_path / FOLDER / "googleAppCreds.json.enc").write_bytes(b"spoilt")
    done = decrypt("--environment", "staging")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("1 of 4 secrets of staging could not be decrypted.\n")
    assert "Traceback" not in done.stderr
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".enc"}


def test_an_unreachable_kms_is_one_clear_error(
    kms: KmsProcess, kms_clock: Clock, tmp_path: Path, decrypt: Callable[..., Ended]
) -> None:
    sealed_checkout(kms, tmp_path)
    kms.set_faults({"code": "UNAVAILABLE", "message": "The service is currently unavailable."})
    done = decrypt("--environment", "staging")
    assert done.code == 1
    assert f"Cloud KMS does not answer at {kms.host}." in done.stderr
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".enc"}


def test_an_unknown_environment_is_a_usage_error(decrypt: Callable[..., Ended]) -> None:
    done = decrypt("--environment", "prod")
    assert done.code == 2
    assert "Known environments: staging, production." in done.stderr


def test_google_s_own_logging_shows_no_plaintext(kms: KmsProcess, tmp_path: Path) -> None:
    """Its client logs each message where a variable asks for that as the client is loaded."""
    sealed_checkout(kms, tmp_path)
    asked = {"GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google.cloud.kms_v1"}
    command = [sys.executable, "-m", "invoke", "decrypt", "--environment", "staging"]
    environment = {**os.environ, **settings(kms, tmp_path), **asked}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, '"plaintext' in done.stderr) == (0, False)
