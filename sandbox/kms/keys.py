"""The RPCs that create, show and change key rings, keys and versions, as far as anything here calls them."""

from datetime import UTC, datetime
from typing import Any

from google.cloud.kms_v1 import types

from sandbox.kms import names
from sandbox.kms.refusals import beyond_the_sandbox, exists, invalid, not_found
from sandbox.kms.store import SOFTWARE, SYMMETRIC, State, Store

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000


def create_key_ring(store: Store, request: Any) -> Any:
    """CreateKeyRing."""
    names.check_id("key_ring_id", request.key_ring_id)
    name = f"{request.parent}/keyRings/{request.key_ring_id}"
    with store.changing():
        if name in store.key_rings:
            raise exists("KeyRing", name)
        store.key_rings[name] = types.KeyRing(name=name, create_time=datetime.now(UTC))
        return store.key_rings[name]


def create_crypto_key(store: Store, request: Any) -> Any:
    """CreateCryptoKey, with its first version as primary."""
    names.check_id("crypto_key_id", request.crypto_key_id)
    _check_new_key(request)
    key = types.CryptoKey(request.crypto_key)
    key.name = f"{request.parent}/cryptoKeys/{request.crypto_key_id}"
    key.create_time = datetime.now(UTC)
    key.version_template = types.CryptoKeyVersionTemplate(protection_level=SOFTWARE, algorithm=SYMMETRIC)
    with store.changing():
        if request.parent not in store.key_rings:
            raise not_found("KeyRing", request.parent)
        if key.name in store.crypto_keys:
            raise exists("CryptoKey", key.name)
        store.crypto_keys[key.name] = key
        store.make_primary(key.name, store.add_version(key.name).name)
        return store.crypto_key(key.name)


def get_crypto_key(store: Store, request: Any) -> Any:
    """GetCryptoKey."""
    with store.reading():
        return store.crypto_key(request.name)


def update_crypto_key_primary_version(store: Store, request: Any) -> Any:
    """UpdateCryptoKeyPrimaryVersion: one that is not enabled may be primary too; it only cannot encrypt."""
    names.check_id("crypto_key_version_id", request.crypto_key_version_id)
    with store.changing():
        store.crypto_key(request.name)
        version = store.version(f"{request.name}/cryptoKeyVersions/{request.crypto_key_version_id}")
        store.make_primary(request.name, version.name)
        return store.crypto_key(request.name)


def create_crypto_key_version(store: Store, request: Any) -> Any:
    """CreateCryptoKeyVersion: the primary version stays the same."""
    with store.changing():
        store.crypto_key(request.parent)
        return store.add_version(request.parent)


def list_crypto_key_versions(store: Store, request: Any) -> Any:
    """ListCryptoKeyVersions, in pages; a page's token is the number of versions before it."""
    if request.filter or request.order_by:
        raise beyond_the_sandbox("filter and order_by")
    if request.page_size < 0:
        raise invalid("page_size must not be negative.")
    if request.page_token and not request.page_token.isdecimal():
        raise invalid("The page_token is not valid for this list.")
    with store.reading():
        store.crypto_key(request.parent)
        found = store.versions_of(request.parent)
    begin = int(request.page_token or 0)
    end = begin + min(request.page_size or DEFAULT_PAGE, LARGEST_PAGE)
    return types.ListCryptoKeyVersionsResponse(
        crypto_key_versions=found[begin:end],
        next_page_token=str(end) if end < len(found) else "",
        total_size=len(found),
    )


def update_crypto_key_version(store: Store, request: Any) -> Any:
    """UpdateCryptoKeyVersion: between ENABLED and DISABLED, nothing else."""
    if list(request.update_mask.paths) != ["state"]:
        raise invalid("update_mask must name the field that can be updated: state.")
    wanted = request.crypto_key_version.state
    if wanted not in {State.ENABLED, State.DISABLED}:
        raise invalid("crypto_key_version.state can only be set to ENABLED or DISABLED.")
    with store.changing():
        version = store.version(request.crypto_key_version.name)
        version.state = wanted
        return version


def _check_new_key(request: Any) -> None:
    """Refuse what would be left out without a word: imports, schedules, other purposes and hardware."""
    plain = types.CryptoKey(purpose=types.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT)
    if request.crypto_key != plain or request.skip_initial_version_creation:
        raise beyond_the_sandbox("keys with anything but the purpose ENCRYPT_DECRYPT")
