"""The KMS of the sandbox against Cloud KMS's documented contract: a table for each RPC."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud.kms_v1.types import resources

from tests.kms_process import DEPLOYER, KEY, LOCATION, RING, KmsProcess, make_key

State = resources.CryptoKeyVersion.CryptoKeyVersionState
ID = "([a-zA-Z0-9_-]{1,63})"
LOCATION_PATTERN = f"projects/([^/]{{1,100}})/locations/{ID}"
RING_PATTERN = f"{LOCATION_PATTERN}/keyRings/{ID}"
KEY_PATTERN = f"{RING_PATTERN}/cryptoKeys/{ID}"
VERSION_PATTERN = f"{KEY_PATTERN}/cryptoKeyVersions/{ID}"
NO_RING = f"{LOCATION}/keyRings/none"
NO_KEY = f"{RING}/cryptoKeys/none"
FIRST = f"{KEY}/cryptoKeyVersions/1"
NO_VERSION = f"{KEY}/cryptoKeyVersions/99"
serial = itertools.count()


@pytest.fixture
def key(kms: KmsProcess) -> str:
    return make_key(kms, f"key-{next(serial)}")


def crc(data: bytes) -> int:
    return int(google_crc32c.value(data))


def both(kms: KmsProcess) -> Any:
    """A client that may encrypt and decrypt."""
    email = "both@lookit-sandbox.iam.gserviceaccount.com"
    kms.set_policy({email: ["roles/owner"]})
    return kms.client(email)


def mismatch(name: str, pattern: str) -> str:
    return f"Resource name '{name}' does not match pattern '{pattern}'."


def wrong_id(field: str, value: str) -> str:
    return f"{field}: '{value}' does not match pattern '{ID}'."


def too_long(field: str) -> str:
    return f"The {field} is 65537 bytes long, but must be no longer than 65536 bytes."


def damaged(field: str) -> str:
    return f"The checksum in field {field}_crc32c did not match the data in field {field}."


@pytest.mark.parametrize(
    ("rpc", "request_", "message"),
    [
        (
            "create_key_ring",
            {"parent": "projects/p", "key_ring_id": "r"},
            mismatch("projects/p", LOCATION_PATTERN),
        ),
        ("create_key_ring", {"parent": LOCATION, "key_ring_id": "r.r"}, wrong_id("key_ring_id", "r.r")),
        ("create_key_ring", {"parent": LOCATION, "key_ring_id": "r" * 64}, wrong_id("key_ring_id", "r" * 64)),
        ("get_key_ring", {"name": KEY}, mismatch(KEY, RING_PATTERN)),
        ("list_key_rings", {"parent": RING}, mismatch(RING, LOCATION_PATTERN)),
        ("list_key_rings", {"parent": LOCATION, "page_size": -1}, "page_size must not be negative."),
        (
            "list_key_rings",
            {"parent": LOCATION, "page_token": "x"},
            "The page_token is not valid for this list.",
        ),
        ("create_crypto_key", {"parent": LOCATION, "crypto_key_id": "k"}, mismatch(LOCATION, RING_PATTERN)),
        ("create_crypto_key", {"parent": RING, "crypto_key": {"purpose": 1}}, wrong_id("crypto_key_id", "")),
        (
            "create_crypto_key",
            {"parent": RING, "crypto_key_id": "k", "crypto_key": {"name": KEY, "purpose": 1}},
            "Request field crypto_key.name must not be set. The value is service-generated.",
        ),
        (
            "create_crypto_key",
            {"parent": RING, "crypto_key_id": "k"},
            "Request field crypto_key.purpose must be set.",
        ),
        (
            "create_crypto_key",
            {
                "parent": RING,
                "crypto_key_id": "k",
                "crypto_key": {"purpose": 1, "destroy_scheduled_duration": {"seconds": 60}},
            },
            "crypto_key.destroy_scheduled_duration must be between 24 hours and 120 days.",
        ),
        (
            "create_crypto_key",
            {
                "parent": RING,
                "crypto_key_id": "k",
                "crypto_key": {"purpose": 1, "rotation_period": {"seconds": 86400}},
            },
            "crypto_key.next_rotation_time must be set when crypto_key.rotation_period is set.",
        ),
        ("get_crypto_key", {"name": RING}, mismatch(RING, KEY_PATTERN)),
        (
            "update_crypto_key",
            {"crypto_key": {"name": KEY}, "update_mask": {"paths": ["purpose"]}},
            "update_mask contains fields that cannot be updated: purpose.",
        ),
        ("update_crypto_key", {"crypto_key": {"name": KEY}}, "update_mask must not be empty."),
        (
            "update_crypto_key_primary_version",
            {"name": KEY, "crypto_key_version_id": "a/b"},
            wrong_id("crypto_key_version_id", "a/b"),
        ),
        ("create_crypto_key_version", {"parent": RING}, mismatch(RING, KEY_PATTERN)),
        ("get_crypto_key_version", {"name": KEY}, mismatch(KEY, VERSION_PATTERN)),
        (
            "update_crypto_key_version",
            {"crypto_key_version": {"name": FIRST, "state": 3}, "update_mask": {"paths": ["state"]}},
            "crypto_key_version.state can only be set to ENABLED or DISABLED.",
        ),
        ("destroy_crypto_key_version", {"name": KEY}, mismatch(KEY, VERSION_PATTERN)),
        ("restore_crypto_key_version", {"name": KEY}, mismatch(KEY, VERSION_PATTERN)),
        ("encrypt", {"name": RING, "plaintext": b"x"}, mismatch(RING, KEY_PATTERN)),
        ("encrypt", {"name": KEY, "plaintext": b"x" * 65537}, too_long("plaintext")),
        (
            "encrypt",
            {"name": KEY, "plaintext": b"x", "additional_authenticated_data": b"x" * 65537},
            too_long("additional_authenticated_data"),
        ),
        ("encrypt", {"name": KEY, "plaintext": b"x", "plaintext_crc32c": 1}, damaged("plaintext")),
        (
            "encrypt",
            {
                "name": KEY,
                "plaintext": b"x",
                "additional_authenticated_data": b"a",
                "additional_authenticated_data_crc32c": 1,
            },
            damaged("additional_authenticated_data"),
        ),
        ("decrypt", {"name": FIRST, "ciphertext": b"x"}, mismatch(FIRST, KEY_PATTERN)),
        ("decrypt", {"name": KEY, "ciphertext": b""}, "ciphertext must not be empty."),
        ("decrypt", {"name": KEY, "ciphertext": b"x", "ciphertext_crc32c": 1}, damaged("ciphertext")),
        (
            "decrypt",
            {"name": KEY, "ciphertext": b"no ciphertext at all"},
            "Decryption failed: the ciphertext is invalid.",
        ),
    ],
)
def test_a_wrong_request_is_an_invalid_argument(
    kms: KmsProcess, rpc: str, request_: Any, message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument) as refused:
        getattr(both(kms), rpc)(request=request_, retry=None)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("rpc", "request_", "message"),
    [
        ("get_key_ring", {"name": NO_RING}, f"KeyRing {NO_RING} not found."),
        (
            "create_crypto_key",
            {"parent": NO_RING, "crypto_key_id": "k", "crypto_key": {"purpose": 1}},
            f"KeyRing {NO_RING} not found.",
        ),
        ("list_crypto_keys", {"parent": NO_RING}, f"KeyRing {NO_RING} not found."),
        ("get_crypto_key", {"name": NO_KEY}, f"CryptoKey {NO_KEY} not found."),
        (
            "update_crypto_key",
            {"crypto_key": {"name": NO_KEY}, "update_mask": {"paths": ["labels"]}},
            f"CryptoKey {NO_KEY} not found.",
        ),
        ("create_crypto_key_version", {"parent": NO_KEY}, f"CryptoKey {NO_KEY} not found."),
        ("list_crypto_key_versions", {"parent": NO_KEY}, f"CryptoKey {NO_KEY} not found."),
        (
            "update_crypto_key_primary_version",
            {"name": KEY, "crypto_key_version_id": "99"},
            f"CryptoKeyVersion {NO_VERSION} not found.",
        ),
        ("get_crypto_key_version", {"name": NO_VERSION}, f"CryptoKeyVersion {NO_VERSION} not found."),
        ("destroy_crypto_key_version", {"name": NO_VERSION}, f"CryptoKeyVersion {NO_VERSION} not found."),
        ("restore_crypto_key_version", {"name": NO_VERSION}, f"CryptoKeyVersion {NO_VERSION} not found."),
        ("encrypt", {"name": NO_KEY, "plaintext": b"x"}, f"CryptoKey {NO_KEY} not found."),
        ("decrypt", {"name": NO_KEY, "ciphertext": b"x"}, f"CryptoKey {NO_KEY} not found."),
    ],
)
def test_what_is_not_there_is_not_found(kms: KmsProcess, rpc: str, request_: Any, message: str) -> None:
    with pytest.raises(exceptions.NotFound) as refused:
        getattr(both(kms), rpc)(request=request_, retry=None)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("first", "rpc", "is_allowed", "state"),
    [
        ("ENABLED", "disable", True, "DISABLED"),
        ("DISABLED", "disable", True, "DISABLED"),
        ("DISABLED", "enable", True, "ENABLED"),
        ("ENABLED", "destroy", True, "DESTROY_SCHEDULED"),
        ("DISABLED", "destroy", True, "DESTROY_SCHEDULED"),
        ("DESTROY_SCHEDULED", "restore", True, "DISABLED"),
        ("DESTROY_SCHEDULED", "destroy", False, "DESTROY_SCHEDULED"),
        ("DESTROY_SCHEDULED", "enable", False, "DESTROY_SCHEDULED"),
        ("ENABLED", "restore", False, "ENABLED"),
        ("DISABLED", "make_primary", False, "DISABLED"),
        ("ENABLED", "make_primary", True, "ENABLED"),
    ],
)
def test_versions_change_state_as_documented(
    kms: KmsProcess, key: str, *, first: str, rpc: str, is_allowed: bool, state: str
) -> None:
    client, version = kms.client(), f"{key}/cryptoKeyVersions/1"
    steps: dict[str, Callable[[], Any]] = {
        "enable": lambda: set_state(client, version, State.ENABLED),
        "disable": lambda: set_state(client, version, State.DISABLED),
        "destroy": lambda: client.destroy_crypto_key_version(name=version),
        "restore": lambda: client.restore_crypto_key_version(name=version),
        "make_primary": lambda: client.update_crypto_key_primary_version(name=key, crypto_key_version_id="1"),
    }
    if first != "ENABLED":
        steps["disable" if first == "DISABLED" else "destroy"]()
    if is_allowed:
        steps[rpc]()
    else:
        with pytest.raises(exceptions.FailedPrecondition, match=f"current state is: {first}"):
            steps[rpc]()
    assert client.get_crypto_key_version(name=version).state.name == state


def set_state(client: Any, version: str, state: Any) -> Any:
    changed = {"name": version, "state": state}
    return client.update_crypto_key_version(crypto_key_version=changed, update_mask={"paths": ["state"]})


def test_a_new_key_has_an_enabled_primary_version(kms: KmsProcess, key: str) -> None:
    got = kms.client().get_crypto_key(name=key)
    assert (got.primary.name, got.primary.state) == (f"{key}/cryptoKeyVersions/1", State.ENABLED)
    assert got.destroy_scheduled_duration == timedelta(days=30)


def test_creating_twice_is_refused(kms: KmsProcess, key: str) -> None:
    with pytest.raises(exceptions.AlreadyExists, match=f"CryptoKey {key} already exists"):
        make_key(kms, key.rsplit("/", 1)[1])
    with pytest.raises(exceptions.AlreadyExists, match=f"KeyRing {RING} already exists"):
        kms.client().create_key_ring(parent=LOCATION, key_ring_id="lookit-keyring", key_ring={})


def test_a_new_version_becomes_primary_only_on_request(kms: KmsProcess, key: str) -> None:
    client = kms.client()
    made = client.create_crypto_key_version(parent=key, crypto_key_version={})
    assert made.name == f"{key}/cryptoKeyVersions/2"
    assert client.get_crypto_key(name=key).primary.name == f"{key}/cryptoKeyVersions/1"
    client.update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    assert client.encrypt(name=key, plaintext=b"x").name == made.name


def test_a_key_without_versions_cannot_encrypt(kms: KmsProcess) -> None:
    client = kms.client()
    key = client.create_crypto_key(request={
        "parent": RING, "crypto_key_id": f"key-{next(serial)}", "crypto_key": {"purpose": 1},
        "skip_initial_version_creation": True,
    })  # fmt: skip
    assert not key.primary.name
    with pytest.raises(exceptions.FailedPrecondition):
        client.encrypt(name=key.name, plaintext=b"x")


def test_a_key_rotates_by_itself_when_its_time_has_come(kms: KmsProcess) -> None:
    client = kms.client()
    due = datetime.now(UTC) - timedelta(seconds=1)
    key = client.create_crypto_key(
        parent=RING, crypto_key_id=f"key-{next(serial)}",
        crypto_key={"purpose": 1, "next_rotation_time": due, "rotation_period": timedelta(days=1)},
    )  # fmt: skip
    rotated = client.get_crypto_key(name=key.name)
    assert rotated.primary.name == f"{key.name}/cryptoKeyVersions/2"
    assert rotated.next_rotation_time > datetime.now(UTC)


def test_lists_come_in_pages(kms: KmsProcess, key: str) -> None:
    client = kms.client()
    for _ in range(4):
        client.create_crypto_key_version(parent=key, crypto_key_version={})
    first = client.list_crypto_key_versions(request={"parent": key, "page_size": 2})
    pages = list(first.pages)
    assert [len(page.crypto_key_versions) for page in pages] == [2, 2, 1]
    assert [page.total_size for page in pages] == [5, 5, 5]
    assert [v.name.rsplit("/", 1)[1] for page in pages for v in page.crypto_key_versions] == list("12345")


def test_a_page_token_of_another_list_is_refused(kms: KmsProcess, key: str) -> None:
    client = kms.client()
    client.create_crypto_key_version(parent=key, crypto_key_version={})
    pages = client.list_crypto_key_versions(request={"parent": key, "page_size": 1}).pages
    token = next(iter(pages)).next_page_token
    with pytest.raises(exceptions.InvalidArgument, match="page_token is not valid"):
        client.list_crypto_key_versions(request={"parent": KEY, "page_token": token})


def test_encrypt_and_decrypt_state_and_check_every_checksum(kms: KmsProcess, key: str) -> None:
    client, text, extra = both(kms), b"\x00text\r\n", b"staging/file"
    sealed = client.encrypt(request={
        "name": key, "plaintext": text, "plaintext_crc32c": crc(text),
        "additional_authenticated_data": extra, "additional_authenticated_data_crc32c": crc(extra),
    })  # fmt: skip
    assert sealed.verified_plaintext_crc32c
    assert sealed.verified_additional_authenticated_data_crc32c
    assert sealed.ciphertext_crc32c == crc(sealed.ciphertext)
    assert sealed.name == f"{key}/cryptoKeyVersions/1"
    opened = client.decrypt(request={
        "name": key, "ciphertext": sealed.ciphertext, "additional_authenticated_data": extra
    })  # fmt: skip
    assert (opened.plaintext, opened.plaintext_crc32c, opened.used_primary) == (text, crc(text), True)


def test_without_checksums_nothing_claims_to_be_verified(kms: KmsProcess, key: str) -> None:
    sealed = both(kms).encrypt(name=key, plaintext=b"x")
    assert not sealed.verified_plaintext_crc32c
    assert not sealed.verified_additional_authenticated_data_crc32c


def test_the_largest_plaintext_comes_back(kms: KmsProcess, key: str) -> None:
    client, text = both(kms), bytes(range(256)) * 256
    assert (
        client.decrypt(name=key, ciphertext=client.encrypt(name=key, plaintext=text).ciphertext).plaintext
        == text
    )


def test_an_older_version_still_decrypts_and_says_so(kms: KmsProcess, key: str) -> None:
    client = both(kms)
    sealed = client.encrypt(name=key, plaintext=b"x").ciphertext
    client.create_crypto_key_version(parent=key, crypto_key_version={})
    client.update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    opened = client.decrypt(name=key, ciphertext=sealed)
    assert (opened.plaintext, opened.used_primary) == (b"x", False)


def test_a_named_version_encrypts(kms: KmsProcess, key: str) -> None:
    client = both(kms)
    made = client.create_crypto_key_version(parent=key, crypto_key_version={})
    assert client.encrypt(name=made.name, plaintext=b"x").name == made.name


@pytest.mark.parametrize("state", ["DISABLED", "DESTROY_SCHEDULED"])
def test_a_version_that_is_not_enabled_is_of_no_use(kms: KmsProcess, key: str, state: str) -> None:
    client, version = both(kms), f"{key}/cryptoKeyVersions/1"
    sealed = client.encrypt(name=key, plaintext=b"x").ciphertext
    if state == "DISABLED":
        set_state(client, version, State.DISABLED)
    else:
        client.destroy_crypto_key_version(name=version)
    message = f"{version} is not enabled, current state is: {state}."
    with pytest.raises(exceptions.FailedPrecondition) as refused:
        client.decrypt(name=key, ciphertext=sealed)
    assert refused.value.message == message
    with pytest.raises(exceptions.FailedPrecondition) as refused:
        client.encrypt(name=key, plaintext=b"x")
    assert refused.value.message == message


def test_another_keys_ciphertext_names_the_wrong_key(kms: KmsProcess, key: str) -> None:
    client = both(kms)
    sealed = client.encrypt(name=KEY, plaintext=b"x").ciphertext
    with pytest.raises(exceptions.InvalidArgument) as refused:
        client.decrypt(name=key, ciphertext=sealed)
    assert refused.value.message == "Decryption failed: verify that 'name' refers to the correct CryptoKey."


def test_other_additional_data_is_refused(kms: KmsProcess, key: str) -> None:
    client = both(kms)
    sealed = client.encrypt(request={"name": key, "plaintext": b"x", "additional_authenticated_data": b"a"})
    with pytest.raises(exceptions.InvalidArgument, match="ciphertext is invalid"):
        client.decrypt(
            request={"name": key, "ciphertext": sealed.ciphertext, "additional_authenticated_data": b"b"}
        )


@pytest.mark.parametrize(
    ("email", "rpc", "permission"),
    [
        (DEPLOYER, "encrypt", "cloudkms.cryptoKeyVersions.useToEncrypt"),
        (DEPLOYER, "get_crypto_key", "cloudkms.cryptoKeys.get"),
        ("nobody@example.org", "decrypt", "cloudkms.cryptoKeyVersions.useToDecrypt"),
    ],
)
def test_a_caller_without_the_role_is_denied(kms: KmsProcess, email: str, rpc: str, permission: str) -> None:
    with pytest.raises(exceptions.PermissionDenied) as refused:
        getattr(kms.client(email), rpc)(request={"name": KEY})
    assert (
        refused.value.message
        == f"Permission '{permission}' denied on resource '{KEY}' (or it may not exist)."
    )
    assert (refused.value.reason, refused.value.domain) == (
        "IAM_PERMISSION_DENIED",
        "cloudkms.googleapis.com",
    )


def test_an_unknown_token_is_not_authenticated(kms: KmsProcess) -> None:
    client = kms.client("someone@example.org")
    (kms.state / "tokens.json").unlink()
    with pytest.raises(exceptions.Unauthenticated, match="invalid authentication credentials"):
        client.get_crypto_key(name=KEY)


def test_what_the_sandbox_lacks_says_so(kms: KmsProcess) -> None:
    with pytest.raises(exceptions.MethodNotImplemented):
        kms.client().generate_random_bytes(location=LOCATION, length_bytes=8, protection_level=1)
    with pytest.raises(exceptions.MethodNotImplemented, match="filter"):
        kms.client().list_key_rings(request={"parent": LOCATION, "filter": "x"})


def test_every_call_is_logged_without_content(kms: KmsProcess) -> None:
    kms.client().encrypt(name=KEY, plaintext=b"hunter2-canary")
    (entry,) = kms.calls()
    assert (entry["rpc"], entry["resource"], entry["code"]) == ("Encrypt", KEY, "OK")
    assert "canary" not in (kms.state / "audit.jsonl").read_text()
