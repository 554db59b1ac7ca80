"""The KMS of the sandbox against Cloud KMS's documented contract: a table for each RPC."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud.kms_v1 import types

from sandbox.kms.service import RPCS
from tests.kms_process import DEPLOYER, KEY, KEY_OWNER, LOCATION, RING, KmsProcess, make_key

State = types.CryptoKeyVersion.CryptoKeyVersionState
ID = "([a-zA-Z0-9_-]{1,63})"
LOCATION_PATTERN = f"projects/([^/]{{1,100}})/locations/{ID}"
RING_PATTERN = f"{LOCATION_PATTERN}/keyRings/{ID}"
KEY_PATTERN = f"{RING_PATTERN}/cryptoKeys/{ID}"
VERSION_PATTERN = f"{KEY_PATTERN}/cryptoKeyVersions/{ID}"
NO_RING = f"{LOCATION}/keyRings/none"
NO_KEY = f"{RING}/cryptoKeys/none"
FIRST = f"{KEY}/cryptoKeyVersions/1"
NO_VERSION = f"{KEY}/cryptoKeyVersions/99"
NO_TOKEN = "The page_token is not valid for this list."
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


WRONG: list[tuple[str, dict[str, Any], str]] = [
    (
        "create_key_ring",
        {"parent": "projects/p", "key_ring_id": "r"},
        mismatch("projects/p", LOCATION_PATTERN),
    ),
    ("create_key_ring", {"parent": LOCATION, "key_ring_id": "r.r"}, wrong_id("key_ring_id", "r.r")),
    ("create_key_ring", {"parent": LOCATION, "key_ring_id": "r" * 64}, wrong_id("key_ring_id", "r" * 64)),
    ("create_crypto_key", {"parent": LOCATION, "crypto_key_id": "k"}, mismatch(LOCATION, RING_PATTERN)),
    ("create_crypto_key", {"parent": RING, "crypto_key": {"purpose": 1}}, wrong_id("crypto_key_id", "")),
    ("get_crypto_key", {"name": RING}, mismatch(RING, KEY_PATTERN)),
    ("list_crypto_key_versions", {"parent": FIRST}, mismatch(FIRST, KEY_PATTERN)),
    ("list_crypto_key_versions", {"parent": KEY, "page_size": -1}, "page_size must not be negative."),
    ("list_crypto_key_versions", {"parent": KEY, "page_token": "x"}, NO_TOKEN),
    (
        "update_crypto_key_primary_version",
        {"name": FIRST, "crypto_key_version_id": "1"},
        mismatch(FIRST, KEY_PATTERN),
    ),
    (
        "update_crypto_key_version",
        {"crypto_key_version": {"name": KEY}, "update_mask": {"paths": ["state"]}},
        mismatch(KEY, VERSION_PATTERN),
    ),
    (
        "update_crypto_key_version",
        {"crypto_key_version": {"name": FIRST, "state": 1}},
        "update_mask must name the field that can be updated: state.",
    ),
    (
        "update_crypto_key_version",
        {"crypto_key_version": {"name": FIRST, "state": 1}, "update_mask": {"paths": ["algorithm"]}},
        "update_mask must name the field that can be updated: state.",
    ),
    (
        "update_crypto_key_primary_version",
        {"name": KEY, "crypto_key_version_id": "a/b"},
        wrong_id("crypto_key_version_id", "a/b"),
    ),
    ("create_crypto_key_version", {"parent": RING}, mismatch(RING, KEY_PATTERN)),
    (
        "update_crypto_key_version",
        {"crypto_key_version": {"name": FIRST, "state": 3}, "update_mask": {"paths": ["state"]}},
        "crypto_key_version.state can only be set to ENABLED or DISABLED.",
    ),
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
    (
        "decrypt",
        {"name": KEY, "ciphertext": b"x" * 66561},
        "The ciphertext is 66561 bytes long, but must be no longer than 66560 bytes.",
    ),
    (
        "decrypt",
        {"name": KEY, "ciphertext": b"x", "additional_authenticated_data": b"x" * 65537},
        too_long("additional_authenticated_data"),
    ),
    (
        "decrypt",
        {
            "name": KEY,
            "ciphertext": b"x",
            "additional_authenticated_data": b"a",
            "additional_authenticated_data_crc32c": 1,
        },
        damaged("additional_authenticated_data"),
    ),
    ("decrypt", {"name": KEY, "ciphertext": b""}, "ciphertext must not be empty."),
    ("decrypt", {"name": KEY, "ciphertext": b"x", "ciphertext_crc32c": 1}, damaged("ciphertext")),
    (
        "decrypt",
        {"name": KEY, "ciphertext": b"no ciphertext at all"},
        "Decryption failed: the ciphertext is invalid.",
    ),
]


@pytest.mark.parametrize(("rpc", "request_", "message"), WRONG)
def test_a_wrong_request_is_an_invalid_argument(
    kms: KmsProcess, rpc: str, request_: Any, message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument) as refused:
        getattr(both(kms), rpc)(request=request_, retry=None)
    assert refused.value.message == message


MISSING: list[tuple[str, dict[str, Any], str]] = [
    (
        "create_crypto_key",
        {"parent": NO_RING, "crypto_key_id": "k", "crypto_key": {"purpose": 1}},
        f"KeyRing {NO_RING} not found.",
    ),
    ("get_crypto_key", {"name": NO_KEY}, f"CryptoKey {NO_KEY} not found."),
    ("create_crypto_key_version", {"parent": NO_KEY}, f"CryptoKey {NO_KEY} not found."),
    ("list_crypto_key_versions", {"parent": NO_KEY}, f"CryptoKey {NO_KEY} not found."),
    (
        "update_crypto_key_primary_version",
        {"name": KEY, "crypto_key_version_id": "99"},
        f"CryptoKeyVersion {NO_VERSION} not found.",
    ),
    (
        "update_crypto_key_primary_version",
        {"name": NO_KEY, "crypto_key_version_id": "1"},
        f"CryptoKey {NO_KEY} not found.",
    ),
    (
        "update_crypto_key_version",
        {"crypto_key_version": {"name": NO_VERSION, "state": 1}, "update_mask": {"paths": ["state"]}},
        f"CryptoKeyVersion {NO_VERSION} not found.",
    ),
    ("encrypt", {"name": NO_VERSION, "plaintext": b"x"}, f"CryptoKeyVersion {NO_VERSION} not found."),
    ("encrypt", {"name": NO_KEY, "plaintext": b"x"}, f"CryptoKey {NO_KEY} not found."),
    ("decrypt", {"name": NO_KEY, "ciphertext": b"x"}, f"CryptoKey {NO_KEY} not found."),
]


@pytest.mark.parametrize(("rpc", "request_", "message"), MISSING)
def test_what_is_not_there_is_not_found(kms: KmsProcess, rpc: str, request_: Any, message: str) -> None:
    with pytest.raises(exceptions.NotFound) as refused:
        getattr(both(kms), rpc)(request=request_, retry=None)
    assert refused.value.message == message


@pytest.mark.parametrize("first", [State.ENABLED, State.DISABLED], ids=lambda state: state.name)
@pytest.mark.parametrize("then", [State.ENABLED, State.DISABLED], ids=lambda state: state.name)
def test_versions_are_enabled_and_disabled(kms: KmsProcess, key: str, first: Any, then: Any) -> None:
    client, version = kms.client(), f"{key}/cryptoKeyVersions/1"
    set_state(client, version, first)
    set_state(client, version, then)
    (listed,) = client.list_crypto_key_versions(parent=key)
    assert listed.state == then


def set_state(client: Any, version: str, state: Any) -> Any:
    changed = {"name": version, "state": state}
    return client.update_crypto_key_version(crypto_key_version=changed, update_mask={"paths": ["state"]})


def test_a_new_key_has_an_enabled_primary_version(kms: KmsProcess, key: str) -> None:
    got = kms.client().get_crypto_key(name=key)
    assert (got.primary.name, got.primary.state) == (f"{key}/cryptoKeyVersions/1", State.ENABLED)


def test_creating_twice_is_refused(kms: KmsProcess, key: str) -> None:
    with pytest.raises(exceptions.AlreadyExists, match=f"CryptoKey {key} already exists"):
        make_key(kms, key.rsplit("/", 1)[1])
    with pytest.raises(exceptions.AlreadyExists, match=f"KeyRing {RING} already exists"):
        kms.client().create_key_ring(parent=LOCATION, key_ring_id="lookit-keyring", key_ring={})


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except exceptions.GoogleAPICallError as error:
        return type(error).__name__
    return "OK"


@pytest.mark.parametrize(
    ("call", "first", "again"),
    [
        (lambda c, k: c.create_crypto_key(parent=RING, crypto_key_id=f"{k.rsplit('/', 1)[1]}x",
                                          crypto_key={"purpose": 1}), "OK", "AlreadyExists"),
        (lambda c, k: c.create_key_ring(parent=LOCATION, key_ring_id=k.rsplit("/", 1)[1], key_ring={}),
         "OK", "AlreadyExists"),
        (lambda c, k: c.create_crypto_key_version(parent=k, crypto_key_version={}), "OK", "OK"),
        (lambda c, k: c.update_crypto_key_primary_version(name=k, crypto_key_version_id="1"), "OK", "OK"),
        (lambda c, k: set_state(c, f"{k}/cryptoKeyVersions/1", State.DISABLED), "OK", "OK"),
        (lambda c, k: set_state(c, f"{k}/cryptoKeyVersions/1", State.ENABLED), "OK", "OK"),
    ],
    ids=["CreateCryptoKey", "CreateKeyRing", "CreateCryptoKeyVersion", "UpdateCryptoKeyPrimaryVersion", "disable",
         "enable"],
)  # fmt: skip
def test_what_a_call_answers_when_it_is_repeated(
    kms: KmsProcess, key: str, call: Callable[[Any, str], Any], first: str, again: str
) -> None:
    client = kms.client()
    assert [outcome(lambda: call(client, key)) for _ in range(2)] == [first, again]


def test_the_same_text_never_encrypts_alike_and_always_decrypts_alike(kms: KmsProcess, key: str) -> None:
    client = both(kms)
    sealed = [client.encrypt(name=key, plaintext=b"x").ciphertext for _ in range(2)]
    assert sealed[0] != sealed[1]
    opened = [client.decrypt(name=key, ciphertext=text).plaintext for text in (*sealed, *sealed)]
    assert opened == [b"x"] * 4


def test_a_new_version_becomes_primary_only_on_request(kms: KmsProcess, key: str) -> None:
    client = kms.client()
    made = client.create_crypto_key_version(parent=key, crypto_key_version={})
    assert made.name == f"{key}/cryptoKeyVersions/2"
    assert client.get_crypto_key(name=key).primary.name == f"{key}/cryptoKeyVersions/1"
    client.update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    assert client.encrypt(name=key, plaintext=b"x").name == made.name


def add_versions(kms: KmsProcess, key: str, number: int) -> None:
    client = kms.client()
    for _ in range(number):
        client.create_crypto_key_version(parent=key, crypto_key_version={})


def test_versions_are_listed_in_pages(kms: KmsProcess, key: str) -> None:
    add_versions(kms, key, 4)
    pages = list(kms.client().list_crypto_key_versions(request={"parent": key, "page_size": 2}).pages)
    assert [len(page.crypto_key_versions) for page in pages] == [2, 2, 1]
    assert [page.total_size for page in pages] == [5, 5, 5]
    assert [bool(page.next_page_token) for page in pages] == [True, True, False]
    listed = [version.name for page in pages for version in page.crypto_key_versions]
    assert listed == [f"{key}/cryptoKeyVersions/{number}" for number in range(1, 6)]


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 100), (100, 100), (101, 101), (1000, 103), (5000, 103)], ids=str
)
def test_a_page_has_a_hundred_unless_told_otherwise(hundred: KmsProcess, asked: int, given: int) -> None:
    request = {"parent": f"{RING}/cryptoKeys/hundred", "page_size": asked}
    first = next(iter(hundred.client().list_crypto_key_versions(request=request).pages))
    assert (len(first.crypto_key_versions), first.total_size) == (given, 103)


@pytest.fixture
def hundred(kms: KmsProcess) -> KmsProcess:
    """With a key of 103 versions, made once."""
    with suppress(exceptions.AlreadyExists):
        add_versions(kms, make_key(kms, "hundred"), 102)
    return kms


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


def test_a_version_that_is_not_enabled_is_of_no_use(kms: KmsProcess, key: str) -> None:
    client, version = both(kms), f"{key}/cryptoKeyVersions/1"
    sealed = client.encrypt(name=key, plaintext=b"x").ciphertext
    set_state(client, version, State.DISABLED)
    message = f"{version} is not enabled, current state is: DISABLED."
    with pytest.raises(exceptions.FailedPrecondition) as refused:
        client.decrypt(name=key, ciphertext=sealed)
    assert refused.value.message == message
    with pytest.raises(exceptions.FailedPrecondition) as refused:
        client.encrypt(name=key, plaintext=b"x")
    assert refused.value.message == message


def test_a_disabled_primary_version_still_allows_decryption(kms: KmsProcess, key: str) -> None:
    client, second = both(kms), f"{key}/cryptoKeyVersions/2"
    sealed = client.encrypt(name=key, plaintext=b"x").ciphertext
    client.create_crypto_key_version(parent=key, crypto_key_version={})
    set_state(client, second, State.DISABLED)
    made = client.update_crypto_key_primary_version(name=key, crypto_key_version_id="2")
    assert (made.primary.name, made.primary.state) == (second, State.DISABLED)
    with pytest.raises(exceptions.FailedPrecondition, match=f"{second} is not enabled"):
        client.encrypt(name=key, plaintext=b"x")
    opened = client.decrypt(name=key, ciphertext=sealed)
    assert (opened.plaintext, opened.used_primary) == (b"x", False)


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


# What the caller of each RPC must be allowed to do, and on what.
PERMISSIONS: list[tuple[str, dict[str, Any], str, str]] = [
    ("create_key_ring", {"parent": LOCATION, "key_ring_id": "r"}, "keyRings.create", LOCATION),
    ("get_crypto_key", {"name": KEY}, "cryptoKeys.get", KEY),
    ("create_crypto_key", {"parent": RING, "crypto_key_id": "k"}, "cryptoKeys.create", RING),
    (
        "update_crypto_key_primary_version",
        {"name": KEY, "crypto_key_version_id": "1"},
        "cryptoKeys.update",
        KEY,
    ),
    ("list_crypto_key_versions", {"parent": KEY}, "cryptoKeyVersions.list", KEY),
    ("create_crypto_key_version", {"parent": KEY}, "cryptoKeyVersions.create", KEY),
    ("update_crypto_key_version", {"crypto_key_version": {"name": FIRST}}, "cryptoKeyVersions.update", FIRST),
    ("encrypt", {"name": KEY}, "cryptoKeyVersions.useToEncrypt", KEY),
    ("decrypt", {"name": KEY}, "cryptoKeyVersions.useToDecrypt", KEY),
]


@pytest.mark.parametrize(("rpc", "request_", "permission", "resource"), PERMISSIONS)
def test_a_caller_without_the_role_is_denied(
    kms: KmsProcess, rpc: str, request_: Any, permission: str, resource: str
) -> None:
    with pytest.raises(exceptions.PermissionDenied) as refused:
        getattr(kms.client("nobody@example.org"), rpc)(request=request_, retry=None)
    assert (
        refused.value.message
        == f"Permission 'cloudkms.{permission}' denied on resource '{resource}' (or it may not exist)."
    )
    assert (refused.value.reason, refused.value.domain) == (
        "IAM_PERMISSION_DENIED",
        "cloudkms.googleapis.com",
    )


def test_deployer_and_key_owner_have_not_each_other_s_right(kms: KmsProcess) -> None:
    deployer, owner = kms.client(DEPLOYER), kms.client(KEY_OWNER)
    sealed = owner.encrypt(name=KEY, plaintext=b"x").ciphertext
    assert deployer.decrypt(name=KEY, ciphertext=sealed).plaintext == b"x"
    with pytest.raises(exceptions.PermissionDenied):
        owner.decrypt(name=KEY, ciphertext=sealed)
    with pytest.raises(exceptions.PermissionDenied):
        deployer.encrypt(name=KEY, plaintext=b"x")


@pytest.mark.parametrize(
    ("table", "besides"),
    [
        (WRONG, set()),
        (MISSING, {"CreateKeyRing"}),  # a location is never missing
        (PERMISSIONS, set()),
    ],
    ids=["wrong requests", "what is missing", "permissions"],
)
def test_no_rpc_is_left_out_of_a_table(table: list[tuple[Any, ...]], besides: set[str]) -> None:
    assert {row[0].title().replace("_", "") for row in table} == RPCS.keys() - besides


def test_an_unknown_token_is_not_authenticated(kms: KmsProcess) -> None:
    client = kms.client("someone@example.org")
    (kms.state / "tokens.json").unlink()
    with pytest.raises(exceptions.Unauthenticated, match="invalid authentication credentials"):
        client.get_crypto_key(name=KEY)


def test_a_token_without_the_scope_is_refused(kms: KmsProcess) -> None:
    with pytest.raises(exceptions.PermissionDenied, match="insufficient authentication scopes") as caught:
        kms.client("").get_crypto_key(name=KEY)
    assert caught.value.reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_what_the_sandbox_lacks_says_so(kms: KmsProcess) -> None:
    with pytest.raises(exceptions.MethodNotImplemented):
        kms.client().generate_random_bytes(location=LOCATION, length_bytes=8, protection_level=1)
    with pytest.raises(exceptions.MethodNotImplemented, match="filter"):
        kms.client().list_crypto_key_versions(request={"parent": KEY, "filter": "x"})
    with pytest.raises(exceptions.MethodNotImplemented):
        kms.client().list_key_rings(parent=LOCATION)
    hardware = {"version_template": {"protection_level": "HSM"}}
    for wanted in (hardware, {"import_only": True}, {"rotation_period": timedelta(days=1)}, {"purpose": 5}):
        with pytest.raises(exceptions.MethodNotImplemented, match="anything but the purpose"):
            kms.client().create_crypto_key(
                parent=RING, crypto_key_id="beyond", crypto_key={"purpose": 1, **wanted}
            )


def test_every_call_is_logged_without_content(kms: KmsProcess) -> None:
    kms.client().encrypt(name=KEY, plaintext=b"hunter2-canary")
    (entry,) = kms.calls()
    assert (entry["rpc"], entry["resource"], entry["code"]) == ("Encrypt", KEY, "OK")
    assert "canary" not in (kms.state / "audit.jsonl").read_text()
