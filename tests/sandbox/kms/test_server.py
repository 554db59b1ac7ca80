"""The KMS of the sandbox as a process: what it keeps, what it speaks besides gRPC, how it goes about trouble."""

import signal
from pathlib import Path

import pytest

from tests.kms_process import KEY, KmsProcess, make_key, running

OWNER = "owner@example.org"
pytestmark = pytest.mark.e2e  # every test starts the server anew


def test_what_was_encrypted_yesterday_decrypts_today(tmp_path: Path) -> None:
    with running(tmp_path / "state") as kms:
        make_key(kms)
        sealed = kms.client().encrypt(name=KEY, plaintext=b"text").ciphertext
    assert (tmp_path / "state/keys.json").stat().st_mode & 0o777 == 0o600
    with running(tmp_path / "state") as kms:
        kms.grant(OWNER, "roles/owner")
        assert kms.client(OWNER).decrypt(name=KEY, ciphertext=sealed).plaintext == b"text"
        made = kms.client().create_crypto_key_version(parent=KEY, crypto_key_version={})
        assert made.name == f"{KEY}/cryptoKeyVersions/2"


def test_a_killed_server_has_lost_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "state") as kms:
        make_key(kms)
        made = [
            kms.client().create_crypto_key_version(parent=KEY, crypto_key_version={}).name for _ in range(3)
        ]
        kms.process.send_signal(signal.SIGKILL)
        kms.process.wait()
    with running(tmp_path / "state") as kms:
        listed = [version.name for version in kms.client().list_crypto_key_versions(parent=KEY)]
    assert listed[1:] == made


def test_a_fault_strikes_as_often_as_it_says(kms: KmsProcess) -> None:
    kms.grant(OWNER, "roles/owner")
    kms.set_faults(
        {
            "rpc": "Encrypt",
            "resource": "kubernetes-secrets$",
            "code": "RESOURCE_EXHAUSTED",
            "skip": 1,
            "times": 2,
        }
    )
    client, outcomes = kms.client(OWNER), []
    for _ in range(4):
        try:
            client.encrypt(request={"name": KEY, "plaintext": b"x"}, retry=None)
            outcomes.append("OK")
        except Exception as error:
            outcomes.append(type(error).__name__)
    assert outcomes == ["OK", "ResourceExhausted", "ResourceExhausted", "OK"]


def test_many_callers_at_once_get_their_own_answers(kms: KmsProcess) -> None:
    from concurrent.futures import ThreadPoolExecutor

    kms.grant(OWNER, "roles/owner")
    client = kms.client(OWNER)

    def round_trip(number: int) -> bool:
        text = f"text {number}".encode()
        sealed = client.encrypt(name=KEY, plaintext=text).ciphertext
        return bool(client.decrypt(name=KEY, ciphertext=sealed).plaintext == text)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(round_trip, range(100)))
