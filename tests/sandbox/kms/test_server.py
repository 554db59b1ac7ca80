"""The KMS of the sandbox as a process: what it keeps, what it speaks besides gRPC, how it goes about trouble."""

import base64
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.kms_process import KEY, KEY_OWNER, RING, KmsProcess, make_key, running

OWNER = "owner@example.org"
pytestmark = pytest.mark.e2e  # every test starts the server anew


def rest(kms: KmsProcess, method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(f"{kms.rest}v1/{path}", method=method)
    request.add_header("authorization", f"Bearer {token or kms.token(OWNER)}")
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


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


def test_a_version_is_destroyed_when_its_day_has_come(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running(state) as kms:
        make_key(kms)
        kms.client().destroy_crypto_key_version(name=f"{KEY}/cryptoKeyVersions/1")
    kept = json.loads((state / "keys.json").read_text())
    kept["versions"][0]["destroyTime"] = "2020-01-01T00:00:00Z"
    (state / "keys.json").write_text(json.dumps(kept))
    with running(state) as kms:
        version = kms.client().get_crypto_key_version(name=f"{KEY}/cryptoKeyVersions/1")
        assert (version.state.name, version.destroy_event_time.year) == ("DESTROYED", 2020)
        assert json.loads((state / "keys.json").read_text())["material"] == {}
        with pytest.raises(Exception, match="is not scheduled for destruction, current state is: DESTROYED"):
            kms.client().restore_crypto_key_version(name=version.name)
        with pytest.raises(Exception, match="is not enabled or disabled, current state is: DESTROYED"):
            kms.client().destroy_crypto_key_version(name=version.name)
        with pytest.raises(Exception, match="is not enabled, current state is: DESTROYED"):
            kms.client().encrypt(name=KEY, plaintext=b"x")


def test_rest_speaks_of_the_same_keys(kms: KmsProcess) -> None:
    kms.grant(OWNER, "roles/owner")
    text = base64.b64encode(b"text").decode()
    code, sealed = rest(kms, "POST", f"{KEY}:encrypt", {"plaintext": text})
    assert (code, sealed["name"]) == (200, f"{KEY}/cryptoKeyVersions/1")
    assert rest(kms, "POST", f"{KEY}:decrypt", {"ciphertext": sealed["ciphertext"]})[1]["plaintext"] == text
    assert kms.client(OWNER).decrypt(
        name=KEY, ciphertext=base64.b64decode(sealed["ciphertext"])
    ).plaintext == b"text"  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "status"),
    [
        ("POST", f"{RING}/cryptoKeys/none:decrypt", {"ciphertext": "eA=="}, 404, "NOT_FOUND"),
        ("POST", f"{KEY}:decrypt", {"ciphertext": "eA=="}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{KEY}:decrypt", {"cipher": "eA=="}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{KEY}:sign", {}, 404, "NOT_FOUND"),
    ],
)
def test_rest_refuses_in_googles_shape(
    kms: KmsProcess, method: str, path: str, body: object, *, code: int, status: str
) -> None:
    kms.grant(OWNER, "roles/owner")
    answered, content = rest(kms, method, path, body)
    assert (answered, content["error"]["code"], content["error"]["status"]) == (code, code, status)


def test_rest_wants_a_known_token_and_the_role(kms: KmsProcess) -> None:
    assert rest(kms, "POST", f"{KEY}:decrypt", {"ciphertext": "eA=="}, token="unknown")[0] == 401
    code, content = rest(kms, "POST", f"{KEY}:decrypt", {"ciphertext": "eA=="}, token=kms.token(KEY_OWNER))
    assert (code, content["error"]["details"][0]["reason"]) == (403, "IAM_PERMISSION_DENIED")


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
