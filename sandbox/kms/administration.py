"""The RPCs that make, show and change key rings, keys and versions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.kms import names
from sandbox.kms.paging import page
from sandbox.kms.refusals import beyond_the_sandbox, exists, invalid, not_found, wrong_state
from sandbox.kms.store import SOFTWARE, SYMMETRIC, State, Store
from tasks.lib.kms.messages import messages

resources = service = messages()

Purpose = resources.CryptoKey.CryptoKeyPurpose
Algorithm = resources.CryptoKeyVersion.CryptoKeyVersionAlgorithm
DAY = timedelta(days=1)
UNTIL_DESTRUCTION = 30 * DAY
SETTABLE = ("labels", "next_rotation_time", "rotation_period")
# May be named too, but a key of this service has one template only.
TEMPLATE = ("version_template", "version_template.algorithm")


def create_key_ring(store: Store, request: Any) -> Any:
    """CreateKeyRing."""
    names.check_id("key_ring_id", request.key_ring_id)
    name = f"{request.parent}/keyRings/{request.key_ring_id}"
    with store.changing():
        if name in store.key_rings:
            raise exists("KeyRing", name)
        store.key_rings[name] = resources.KeyRing(name=name, create_time=datetime.now(UTC))
        return store.key_rings[name]


def get_key_ring(store: Store, request: Any) -> Any:
    """GetKeyRing."""
    with store.reading():
        return _key_ring(store, request.name)


def list_key_rings(store: Store, request: Any) -> Any:
    """ListKeyRings."""
    with store.reading():
        found = [
            ring for name, ring in sorted(store.key_rings.items()) if names.parent(name) == request.parent
        ]
        listed, token = page(request, found)
        return service.ListKeyRingsResponse(key_rings=listed, next_page_token=token, total_size=len(found))


def create_crypto_key(store: Store, request: Any) -> Any:
    """CreateCryptoKey, with its first version as primary unless that is to be skipped."""
    names.check_id("crypto_key_id", request.crypto_key_id)
    key = resources.CryptoKey(request.crypto_key)
    _check_new_key(key)
    del key.primary
    key.name = f"{request.parent}/cryptoKeys/{request.crypto_key_id}"
    key.create_time = datetime.now(UTC)
    key.destroy_scheduled_duration = key.destroy_scheduled_duration or UNTIL_DESTRUCTION
    key.version_template = resources.CryptoKeyVersionTemplate(protection_level=SOFTWARE, algorithm=SYMMETRIC)
    with store.changing():
        _key_ring(store, request.parent)
        if key.name in store.crypto_keys:
            raise exists("CryptoKey", key.name)
        store.crypto_keys[key.name] = key
        if not request.skip_initial_version_creation:
            store.make_primary(key.name, store.add_version(key.name).name)
        return store.crypto_key(key.name)


def get_crypto_key(store: Store, request: Any) -> Any:
    """GetCryptoKey."""
    with store.reading():
        return store.crypto_key(request.name)


def list_crypto_keys(store: Store, request: Any) -> Any:
    """ListCryptoKeys."""
    with store.reading():
        _key_ring(store, request.parent)
        found = [
            store.crypto_key(name)
            for name in sorted(store.crypto_keys)
            if names.parent(name) == request.parent
        ]
        listed, token = page(request, found)
        return service.ListCryptoKeysResponse(
            crypto_keys=listed, next_page_token=token, total_size=len(found)
        )


def update_crypto_key(store: Store, request: Any) -> Any:
    """UpdateCryptoKey: labels and the rotation schedule; what the mask names and the request lacks goes."""
    mask = _mask(request, (*SETTABLE, *TEMPLATE))
    _check_template(request.crypto_key.version_template)
    if TEMPLATE[1] in mask and not request.crypto_key.version_template.algorithm:
        raise invalid("crypto_key.version_template.algorithm must be set.")
    with store.changing():
        store.crypto_key(request.crypto_key.name)
        key = store.crypto_keys[request.crypto_key.name]
        for field in (field for field in mask if field in SETTABLE):
            delattr(key, field)
            if field in request.crypto_key:
                setattr(key, field, getattr(request.crypto_key, field))
        _check_rotation(key)
        return store.crypto_key(key.name)


def update_crypto_key_primary_version(store: Store, request: Any) -> Any:
    """UpdateCryptoKeyPrimaryVersion: any version will do; one that is not enabled just cannot encrypt."""
    names.check_id("crypto_key_version_id", request.crypto_key_version_id)
    with store.changing():
        store.crypto_key(request.name)
        version = store.version(f"{request.name}/cryptoKeyVersions/{request.crypto_key_version_id}")
        store.make_primary(request.name, version.name)
        return store.crypto_key(request.name)


def create_crypto_key_version(store: Store, request: Any) -> Any:
    """CreateCryptoKeyVersion: the primary version stays what it is."""
    with store.changing():
        store.crypto_key(request.parent)
        return store.add_version(request.parent)


def get_crypto_key_version(store: Store, request: Any) -> Any:
    """GetCryptoKeyVersion."""
    with store.reading():
        return store.version(request.name)


def list_crypto_key_versions(store: Store, request: Any) -> Any:
    """ListCryptoKeyVersions."""
    with store.reading():
        store.crypto_key(request.parent)
        found = store.versions_of(request.parent)
        listed, token = page(request, found)
        return service.ListCryptoKeyVersionsResponse(
            crypto_key_versions=listed, next_page_token=token, total_size=len(found)
        )


def update_crypto_key_version(store: Store, request: Any) -> Any:
    """UpdateCryptoKeyVersion: between ENABLED and DISABLED, nothing else."""
    _mask(request, ("state",))
    wanted = request.crypto_key_version.state
    if wanted not in {State.ENABLED, State.DISABLED}:
        raise invalid("crypto_key_version.state can only be set to ENABLED or DISABLED.")
    with store.changing():
        version = store.version(request.crypto_key_version.name)
        if version.state not in {State.ENABLED, State.DISABLED}:
            raise wrong_state(version.name, "enabled or disabled", version.state.name)
        version.state = wanted
        return version


def destroy_crypto_key_version(store: Store, request: Any) -> Any:
    """DestroyCryptoKeyVersion: the material stays until the scheduled day."""
    with store.changing():
        version = store.version(request.name)
        if version.state not in {State.ENABLED, State.DISABLED}:
            raise wrong_state(version.name, "enabled or disabled", version.state.name)
        version.state = State.DESTROY_SCHEDULED
        key = store.crypto_keys[names.key_of(version.name)]
        version.destroy_time = datetime.now(UTC) + key.destroy_scheduled_duration
        return version


def restore_crypto_key_version(store: Store, request: Any) -> Any:
    """RestoreCryptoKeyVersion: back to DISABLED, while the material is there."""
    with store.changing():
        version = store.version(request.name)
        if version.state != State.DESTROY_SCHEDULED:
            raise wrong_state(version.name, "scheduled for destruction", version.state.name)
        version.state, version.destroy_time = State.DISABLED, None
        return version


def _key_ring(store: Store, name: str) -> Any:
    if name not in store.key_rings:
        raise not_found("KeyRing", name)
    return store.key_rings[name]


def _mask(request: Any, allowed: tuple[str, ...]) -> list[str]:
    """The fields to change; at least one, and only such as can be changed."""
    paths = list(request.update_mask.paths)
    if not paths:
        raise invalid("update_mask must not be empty.")
    if wrong := [path for path in paths if path not in allowed]:
        raise invalid(f"update_mask contains fields that cannot be updated: {', '.join(wrong)}.")
    return paths


def _check_new_key(key: Any) -> None:
    if key.name:
        raise invalid("Request field crypto_key.name must not be set. The value is service-generated.")
    if not key.purpose:
        raise invalid("Request field crypto_key.purpose must be set.")
    if key.purpose != Purpose.ENCRYPT_DECRYPT:
        raise beyond_the_sandbox(f"the purpose {Purpose(key.purpose).name}")
    if key.import_only:
        raise beyond_the_sandbox("keys that hold imported versions only")
    _check_template(key.version_template)
    duration = key.destroy_scheduled_duration
    if duration and not DAY <= duration <= 120 * DAY:
        raise invalid("crypto_key.destroy_scheduled_duration must be between 24 hours and 120 days.")
    _check_rotation(key)


def _check_template(template: Any) -> None:
    """What versions are made of: software keys, and the one algorithm that fits the purpose."""
    if template.protection_level not in {resources.ProtectionLevel.PROTECTION_LEVEL_UNSPECIFIED, SOFTWARE}:
        raise beyond_the_sandbox(f"the protection level {template.protection_level.name}")
    if template.algorithm not in {Algorithm.CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED, SYMMETRIC}:
        raise invalid(f"{template.algorithm.name} is no algorithm for the purpose ENCRYPT_DECRYPT.")


def _check_rotation(key: Any) -> None:
    if key.rotation_period and not key.next_rotation_time:
        raise invalid("crypto_key.next_rotation_time must be set when crypto_key.rotation_period is set.")
    if key.rotation_period and not DAY <= key.rotation_period <= timedelta(hours=876_000):
        raise invalid("crypto_key.rotation_period must be between 24 hours and 876000 hours.")
