"""Changes of keys and the form of ciphertexts, without a server around them."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from google.cloud.kms_v1 import types

from sandbox.kms import cipher, keys
from sandbox.kms.access import KEY_OWNER, Access
from sandbox.kms.grpc_server import refuse_misrouted
from sandbox.kms.refusals import Refusal
from sandbox.kms.service import RPCS
from sandbox.kms.store import Store
from tests.kms_process import KEY, LOCATION, RING

MATERIAL = b"k" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the key kubernetes-secrets."""
    made = Store(tmp_path)
    keys.create_key_ring(
        made, types.CreateKeyRingRequest(parent=LOCATION, key_ring_id=RING.rsplit("/", 1)[1])
    )
    create(made, KEY.rsplit("/", 1)[1])
    return made


def create(store: Store, name: str, **key: Any) -> Any:
    request = types.CreateCryptoKeyRequest(
        parent=RING, crypto_key_id=name, crypto_key={"purpose": "ENCRYPT_DECRYPT", **key}
    )
    return keys.create_crypto_key(store, request)


HERE = {"x-goog-request-params": f"name={quote(KEY)}"}
ELSEWHERE = {"x-goog-request-params": f"name={KEY.replace('us-east1', 'europe-west1')}"}


@pytest.mark.parametrize(
    ("headers", "sent_to"),
    [({}, "global"), (ELSEWHERE, "europe-west1"), ({"x-goog-request-params": f"parent={KEY}"}, "global")],
    ids=["no header", "another location", "another field"],
)
def test_a_call_with_a_wrong_routing_header_fails(headers: dict[str, str], sent_to: str) -> None:
    with pytest.raises(Refusal) as refused:
        refuse_misrouted(RPCS["Decrypt"], types.DecryptRequest(name=KEY), headers)

    assert refused.value.code == "NOT_FOUND"
    assert f"concerns location 'us-east1' but was sent to location '{sent_to}'" in refused.value.message


def test_the_header_of_a_call_leads_to_its_key() -> None:
    refuse_misrouted(RPCS["Decrypt"], types.DecryptRequest(name=KEY), HERE)
    refuse_misrouted(RPCS["GetCryptoKey"], types.GetCryptoKeyRequest(name="no resource"), {})
    everywhere = KEY.replace("us-east1", "global")
    refuse_misrouted(RPCS["GetCryptoKey"], types.GetCryptoKeyRequest(name=everywhere), {})


def test_only_encryption_keys_are_supported(store: Store) -> None:
    with pytest.raises(Refusal) as refused:
        create(store, "signing", purpose="ASYMMETRIC_SIGN")

    assert (refused.value.code, refused.value.message) == (
        "UNIMPLEMENTED", "The sandbox's KMS does not know keys with anything but the purpose ENCRYPT_DECRYPT."
    )  # fmt: skip
    assert list(store.crypto_keys) == [KEY]


def test_missing_credentials_are_reported(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        Access(tmp_path).caller("")

    assert refused.value.code == "UNAUTHENTICATED"
    assert refused.value.message.startswith("Request is missing required authentication credential.")


def test_a_policy_in_force_replaces_the_default(tmp_path: Path) -> None:
    access = Access(tmp_path)
    access.require(KEY_OWNER, "cloudkms.cryptoKeys.create", RING)
    (tmp_path / "policy.json").write_text('{"*": ["roles/cloudkms.viewer", "roles/unknown"]}')

    access.require(KEY_OWNER, "cloudkms.cryptoKeys.get", KEY)
    with pytest.raises(Refusal) as refused:
        access.require(KEY_OWNER, "cloudkms.cryptoKeys.create", RING)
    assert refused.value.metadata == {"permission": "cloudkms.cryptoKeys.create", "resource": RING}


SEALED = cipher.seal(f"{KEY}/cryptoKeyVersions/1", MATERIAL, b"x" * 200, b"file")
BODY = cipher.HEADER_LENGTH + 3  # the tag, and a length of two bytes


def test_what_was_sealed_is_opened(store: Store) -> None:
    assert cipher.unseal(SEALED, MATERIAL, b"file") == b"x" * 200
    assert store.version_of_handle(cipher.handle_in(SEALED)) == f"{KEY}/cryptoKeyVersions/1"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(SEALED[:-1], id="cut short"),
        pytest.param(SEALED + b"x", id="longer"),
        pytest.param(SEALED[:-1] + bytes([SEALED[-1] ^ 1]), id="another last byte"),
        pytest.param(SEALED[: cipher.HEADER_LENGTH] + b"\x1a" + SEALED[cipher.HEADER_LENGTH + 1 :],
                     id="another tag"),
        pytest.param(SEALED[: cipher.HEADER_LENGTH] + b"\x12\xd5" + SEALED[BODY - 1 :], id="another length"),
        pytest.param(SEALED[: BODY - 1] + bytes([SEALED[BODY - 1] | 0x80, 0]) + SEALED[BODY:],
                     id="its length spelled with a byte too many"),
        pytest.param(SEALED[: cipher.HEADER_LENGTH] + b"\x12" + b"\xff" * 8, id="a length without end"),
        pytest.param(SEALED[: cipher.HEADER_LENGTH] + b"\x12\x80", id="a length that breaks off"),
        pytest.param(SEALED[: cipher.HEADER_LENGTH] + b"\x12\x01x", id="shorter than its nonce"),
        pytest.param(SEALED[: cipher.HEADER_LENGTH], id="no content"),
    ],
)  # fmt: skip
def test_not_a_byte_of_a_ciphertext_may_differ(broken: bytes) -> None:
    with pytest.raises(cipher.Broken):
        cipher.unseal(broken, MATERIAL, b"file")


@pytest.mark.parametrize(
    "text",
    [b"", SEALED[: cipher.HEADER_LENGTH - 1], b"\x0b" + SEALED[1:]],
    ids=["nothing", "a byte too short", "another first byte"],
)
def test_what_does_not_begin_as_a_ciphertext_names_no_version(text: bytes) -> None:
    with pytest.raises(cipher.Broken):
        cipher.handle_in(text)
