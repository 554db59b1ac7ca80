"""The client against the sandbox's KMS, a real server process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.background import Background
from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms, connected
from tasks.lib.kms.errors import ChecksumMismatch
from tasks.lib.redaction import Secret
from tests.clock import Clock
from tests.heard import until
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, KmsProcess
from tests.secrets_settings import settings_for

BOTH = "both@lookit-sandbox.iam.gserviceaccount.com"
PLAINTEXT = Secret(b"\x00canary-4711\r\n")


@contextmanager
def client(kms: KmsProcess, tmp_path: Path, email: str = BOTH, /, **limits: str) -> Iterator[Kms]:
    kms.set_policy({BOTH: ["roles/cloudkms.cryptoKeyEncrypterDecrypter"], DEPLOYER: []})
    times = {"kms_attempt": "60s", "kms": "120s", **limits}
    with connected(settings_for(kms, tmp_path, email, time_limits=times)) as connection:
        yield connection


def test_what_was_encrypted_decrypts(kms: KmsProcess, tmp_path: Path) -> None:
    with client(kms, tmp_path) as connection:
        sealed = connection.encrypt(KEY, PLAINTEXT, b"staging/file")
        opened = connection.decrypt(KEY, sealed, b"staging/file")
    assert (opened.plaintext, opened.used_primary) == (PLAINTEXT, True)


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "UNAVAILABLE", "message": "Try again."},
        {"code": "INTERNAL", "message": "Internal error."},
        {"hang": True},
        {"spoil": "plaintext_crc32c"},
        {"spoil": "plaintext"},
        {"code": "INVALID_ARGUMENT",
         "message": "The checksum in field ciphertext_crc32c did not match the data in field ciphertext."},
    ],
    ids=["unavailable", "internal", "hanging", "answer's checksum damaged", "answer damaged", "request damaged"],
)  # fmt: skip
def test_a_temporary_failure_of_kms_is_retried(
    kms: KmsProcess,
    tmp_path: Path,
    kms_clock: Clock,
    fault: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with client(kms, tmp_path) as connection:
        sealed = connection.encrypt(KEY, PLAINTEXT)
    with client(kms, tmp_path, kms_attempt="1s" if "hang" in fault else "60s") as connection:
        kms.set_faults({"rpc": "Decrypt", "times": 1, **fault})
        assert connection.decrypt(KEY, sealed).plaintext == PLAINTEXT
    until(lambda: len(kms.calls()) >= 3)  # the end of one that hangs is noted a moment later
    # A busy machine may take so long for an answer that it is asked for once more.
    assert [call["rpc"] for call in kms.calls()][:3] == ["Encrypt", "Decrypt", "Decrypt"]
    assert len(kms_clock.slept) == 1 or "hang" in fault
    assert "Trying again for up to" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["verified_plaintext_crc32c", "ciphertext_crc32c", "ciphertext"])
def test_an_encryption_that_is_not_confirmed_is_tried_again(
    kms: KmsProcess, tmp_path: Path, field: str
) -> None:
    with client(kms, tmp_path) as connection:
        kms.set_faults({"rpc": "Encrypt", "times": 1, "spoil": field})
        sealed = connection.encrypt(KEY, PLAINTEXT)
        assert connection.decrypt(KEY, sealed).plaintext == PLAINTEXT
    assert [call["rpc"] for call in kms.calls()] == ["Encrypt", "Encrypt", "Decrypt"]


@pytest.mark.parametrize(
    ("spoiled", "why"),
    [
        ("plaintext_crc32c", "The plaintext that came back does not match its checksum, in every attempt."),
        ("plaintext", "The plaintext that came back does not match its checksum, in every attempt."),
    ],
)
def test_lasting_damage_on_the_way_is_told(
    kms: KmsProcess, tmp_path: Path, kms_clock: Clock, spoiled: str, why: str
) -> None:
    with client(kms, tmp_path, kms_attempt="60s", kms="60s") as connection:
        sealed = connection.encrypt(KEY, PLAINTEXT)
        kms.set_faults({"rpc": "Decrypt", "spoil": spoiled})
        with pytest.raises(ChecksumMismatch) as failed:
            connection.decrypt(KEY, sealed)
    assert failed.value.why == why
    assert 50 < sum(kms_clock.slept) <= 60


def test_a_time_out_does_not_hide_the_first_error(
    kms: KmsProcess, tmp_path: Path, kms_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = kms_clock.sleep
    monkeypatch.setattr(kms_clock, "sleep", lambda _: sleep(59.9))
    with client(kms, tmp_path, kms_attempt="60s", kms="60s") as connection:
        sealed = connection.encrypt(KEY, PLAINTEXT)
        damage = {"rpc": "Decrypt", "spoil": "plaintext", "times": 1}
        kms.set_faults(damage, {"rpc": "Decrypt", "skip": 1, "hang": True})
        with pytest.raises(ChecksumMismatch):
            connection.decrypt(KEY, sealed)


@pytest.mark.parametrize(
    "code", ["PERMISSION_DENIED", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"]
)
def test_a_refusal_is_not_tried_again(kms: KmsProcess, tmp_path: Path, code: str) -> None:
    kms.set_faults({"rpc": "Decrypt", "code": code})
    with client(kms, tmp_path) as connection, pytest.raises(Failure):
        connection.decrypt(KEY, b"x")
    assert [call["code"] for call in kms.calls()] == [code]


def test_a_hanging_kms_is_given_up_in_time(kms: KmsProcess, tmp_path: Path, kms_clock: Clock) -> None:
    kms.set_faults({"rpc": "Decrypt", "hang": True})
    with (
        client(kms, tmp_path, kms_attempt="0.2s", kms="5s") as connection,
        pytest.raises(Failure) as failed,
    ):
        connection.decrypt(KEY, b"x")
    assert failed.value.what == f"Cloud KMS does not answer at {kms.host}."
    assert len(kms_clock.slept) >= 2
    assert sum(kms_clock.slept) <= 5


def test_an_unreachable_kms_is_named(kms: KmsProcess, tmp_path: Path) -> None:
    google = {
        "credentials_file": str(kms.credentials_file(BOTH)),
        "kms": "localhost:9",
        "ca_file": str(kms.ca_file),
    }
    settings = settings_for(kms, tmp_path, time_limits={"kms": "0.5s"}, google=google)
    with connected(settings) as connection, pytest.raises(Failure, match="does not answer at localhost:9"):
        connection.decrypt(KEY, b"x")


def test_a_server_with_another_certificate_is_not_trusted(
    kms: KmsProcess, tmp_path: Path, kms_clock: Clock
) -> None:
    google = {"credentials_file": str(kms.credentials_file(BOTH)), "kms": kms.host, "ca_file": ""}
    settings = settings_for(kms, tmp_path, time_limits={"kms": "30s"}, google=google)
    with connected(settings) as connection, pytest.raises(Failure) as failed:
        connection.decrypt(KEY, b"x")
    assert failed.value.what == f"The certificate of {kms.host} is not one that this machine trusts."
    assert "CERTIFICATE_VERIFY_FAILED" in failed.value.why
    assert kms_clock.slept == [], "it was tried again"


def test_a_missing_role_comes_with_the_grant_command(kms: KmsProcess, tmp_path: Path) -> None:
    with client(kms, tmp_path, DEPLOYER) as connection, pytest.raises(Failure) as failed:
        connection.decrypt(KEY, b"x")
    assert failed.value.next_step == (
        "The key's owner runs: gcloud kms keys add-iam-policy-binding kubernetes-secrets "
        f"--member=serviceAccount:{DEPLOYER} --role=roles/cloudkms.cryptoKeyDecrypter "
        "--keyring lookit-keyring --location us-east1 --project mit-lookit-keys"
    )


def test_the_reason_of_a_disabled_api_is_understood(kms: KmsProcess, tmp_path: Path) -> None:
    kms.set_faults({
        "code": "PERMISSION_DENIED", "message": "Cloud KMS API has not been used.", "reason": "SERVICE_DISABLED",
        "metadata": {"consumer": "projects/777"},
    })  # fmt: skip
    with client(kms, tmp_path) as connection, pytest.raises(Failure) as failed:
        connection.decrypt(KEY, b"x")
    assert failed.value.next_step == "gcloud services enable cloudkms.googleapis.com --project 777"


def test_closing_ends_a_call_under_way(kms: KmsProcess, tmp_path: Path) -> None:
    came = tmp_path / "came"
    kms.set_faults({"rpc": "Decrypt", "touch": str(came), "hang": True})
    with client(kms, tmp_path, kms_attempt="1h", kms="2h") as connection:
        call = Background(partial(connection.decrypt, KEY, b"x"))
        until(came.exists)
        connection.close()
        with pytest.raises(Failure):
            call.wait()


def test_a_call_after_closing_is_cancelled(kms: KmsProcess, tmp_path: Path) -> None:
    with client(kms, tmp_path) as connection:
        connection.close()
        with pytest.raises(Failure):
            connection.decrypt(KEY, b"x")


def test_an_account_that_google_does_not_know_cannot_sign_in(kms: KmsProcess, tmp_path: Path) -> None:
    import json

    account = json.loads(kms.credentials_file(KEY_OWNER).read_text())
    gone = tmp_path / "gone.json"
    gone.write_text(json.dumps({**account, "token_uri": account["token_uri"].replace("/token", "/refuse")}))
    google = {"credentials_file": str(gone), "kms": kms.host, "ca_file": str(kms.ca_file)}
    with pytest.raises(Failure) as failed, connected(settings_for(kms, tmp_path, google=google)):
        pass
    assert failed.value.what == "Google does not accept your credentials."
    assert "invalid_grant" in failed.value.why


@pytest.mark.parametrize(
    ("account", "member"), [("dev@example.org", "user:dev@example.org"), ("", ""), (None, "")]
)
def test_the_user_is_read_from_the_gcloud_configuration(account: str | None, member: str) -> None:
    from google.oauth2.credentials import Credentials

    from tasks.lib.kms.client import _member

    assert _member(Credentials("token", account=account)) == member


def test_calls_count_against_the_quota_project_of_the_settings(kms: KmsProcess, tmp_path: Path) -> None:
    google = {
        "credentials_file": str(kms.credentials_file(KEY_OWNER)), "kms": kms.host, "ca_file": str(kms.ca_file),
        "quota_project": "mit-lookit",
    }  # fmt: skip
    with connected(settings_for(kms, tmp_path, google=google)) as connection:
        connection.encrypt(KEY, PLAINTEXT)
    assert [call["quota_project"] for call in kms.calls()] == ["mit-lookit"]


def test_without_one_they_count_where_google_thinks_best(kms: KmsProcess, tmp_path: Path) -> None:
    with client(kms, tmp_path) as connection:
        connection.encrypt(KEY, PLAINTEXT)
    assert [call["quota_project"] for call in kms.calls()] == [""]


def test_nobody_but_the_kms_and_the_token_service_is_asked(
    kms: KmsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.auth.transport.requests import Request

    asked, send = [], Request.__call__

    def noted(self: Request, url: str, *args: Any, **named: Any) -> Any:
        asked.append(url)
        return send(self, url, *args, **named)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Request, "__call__", noted)
    with client(kms, tmp_path) as connection:
        connection.encrypt(KEY, PLAINTEXT)
    assert asked == [kms.token_uri]
