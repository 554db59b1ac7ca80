"""Changes of keys and the form of ciphertexts, without a server around them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.kms import administration, cipher
from sandbox.kms.access import KEY_OWNER, Access
from sandbox.kms.catalogue import RPCS
from sandbox.kms.grpc_server import refuse_misrouted
from sandbox.kms.refusals import Refusal
from sandbox.kms.store import Store
from tasks.lib.kms.messages import messages
from tests.kms_process import KEY, LOCATION, RING

MATERIAL = b"k" * 32
service = messages()
SOON = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the key kubernetes-secrets."""
    made = Store(tmp_path)
    administration.create_key_ring(
        made, service.CreateKeyRingRequest(parent=LOCATION, key_ring_id=RING.rsplit("/", 1)[1])
    )
    create(made, KEY.rsplit("/", 1)[1])
    return made


def create(store: Store, name: str, **key: Any) -> Any:
    request = service.CreateCryptoKeyRequest(
        parent=RING, crypto_key_id=name, crypto_key={"purpose": "ENCRYPT_DECRYPT", **key}
    )
    return administration.create_crypto_key(store, request)


def update(store: Store, fields: str, **key: Any) -> Any:
    request = service.UpdateCryptoKeyRequest(
        crypto_key={"name": KEY, **key}, update_mask={"paths": fields.split()}
    )
    return administration.update_crypto_key(store, request)


def test_only_the_fields_of_the_mask_are_changed_and_kept(store: Store, tmp_path: Path) -> None:
    changed = update(
        store, "labels next_rotation_time rotation_period",
        labels={"owner": "lookit"}, next_rotation_time=SOON, rotation_period=timedelta(days=90),
        destroy_scheduled_duration=timedelta(days=1),
    )  # fmt: skip

    assert (dict(changed.labels), changed.rotation_period) == ({"owner": "lookit"}, timedelta(days=90))
    assert changed.destroy_scheduled_duration == timedelta(days=30)
    kept = Store(tmp_path).crypto_key(KEY)
    assert (dict(kept.labels), kept.primary.name) == ({"owner": "lookit"}, f"{KEY}/cryptoKeyVersions/1")


def test_a_rotation_that_is_taken_away_is_absent(store: Store, tmp_path: Path) -> None:
    update(
        store,
        "next_rotation_time rotation_period",
        next_rotation_time=SOON,
        rotation_period=timedelta(days=90),
    )

    changed = update(store, "next_rotation_time rotation_period")

    kept = Store(tmp_path).crypto_key(KEY)
    for key in (changed, kept):
        assert "rotation_period" not in key
        assert "next_rotation_time" not in key


def test_the_algorithm_of_new_versions_can_be_named_and_no_other(store: Store) -> None:
    symmetric = {"algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION"}
    changed = update(store, "version_template.algorithm", version_template=symmetric)

    assert changed.version_template.algorithm.name == "GOOGLE_SYMMETRIC_ENCRYPTION"
    for template in ({"algorithm": "HMAC_SHA256"}, {}):
        with pytest.raises(Refusal) as refused:
            update(store, "version_template.algorithm", version_template=template)
        assert refused.value.code == "INVALID_ARGUMENT"
    with pytest.raises(Refusal, match="cannot be updated"):
        update(store, "version_template.protection_level", version_template={"protection_level": "SOFTWARE"})


HERE = {"x-goog-request-params": f"name={quote(KEY)}"}
ELSEWHERE = {"x-goog-request-params": f"name={KEY.replace('us-east1', 'europe-west1')}"}


@pytest.mark.parametrize(
    ("headers", "sent_to"),
    [({}, "global"), (ELSEWHERE, "europe-west1"), ({"x-goog-request-params": f"parent={KEY}"}, "global")],
    ids=["no header", "another location", "another field"],
)
def test_a_call_whose_header_does_not_lead_to_its_key_is_misrouted(
    headers: dict[str, str], sent_to: str
) -> None:
    with pytest.raises(Refusal) as refused:
        refuse_misrouted(RPCS["Decrypt"], service.DecryptRequest(name=KEY), headers)

    assert refused.value.code == "NOT_FOUND"
    assert f"concerns location 'us-east1' but was sent to location '{sent_to}'" in refused.value.message


def test_the_header_of_a_call_leads_to_its_key() -> None:
    refuse_misrouted(RPCS["Decrypt"], service.DecryptRequest(name=KEY), HERE)
    refuse_misrouted(RPCS["GetCryptoKey"], service.GetCryptoKeyRequest(name="no resource"), {})
    everywhere = KEY.replace("us-east1", "global")
    refuse_misrouted(RPCS["GetCryptoKey"], service.GetCryptoKeyRequest(name=everywhere), {})


@pytest.mark.parametrize(
    ("period", "message"),
    [
        (
            {"rotation_period": timedelta(days=90)},
            "crypto_key.next_rotation_time must be set when crypto_key.rotation_period is set.",
        ),
        (
            {"rotation_period": timedelta(hours=23), "next_rotation_time": SOON},
            "crypto_key.rotation_period must be between 24 hours and 876000 hours.",
        ),
    ],
)
def test_a_rotation_that_cannot_be_leaves_the_key_as_it_was(
    store: Store, period: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refusal) as refused:
        update(store, " ".join(["labels", *period]), labels={"owner": "lookit"}, **period)

    assert (refused.value.code, refused.value.message) == ("INVALID_ARGUMENT", message)
    kept = store.crypto_key(KEY)
    assert not kept.labels
    assert not kept.rotation_period


def test_a_key_for_something_else_than_encryption_is_beyond_the_sandbox(store: Store) -> None:
    with pytest.raises(Refusal) as refused:
        create(store, "signing", purpose="ASYMMETRIC_SIGN")

    assert (refused.value.code, refused.value.message) == (
        "UNIMPLEMENTED", "The sandbox's KMS does not know the purpose ASYMMETRIC_SIGN."
    )  # fmt: skip
    assert list(store.crypto_keys) == [KEY]


def test_without_any_credential_the_caller_is_told_that_it_is_missing(tmp_path: Path) -> None:
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
