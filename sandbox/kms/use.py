"""The two RPCs that use a key: Encrypt and Decrypt, checksums included."""

from typing import Any

import google_crc32c
from google.cloud.kms_v1 import types

from sandbox.kms import cipher, names
from sandbox.kms.refusals import bad_checksum, invalid, wrong_state
from sandbox.kms.store import SOFTWARE, State, Store

LARGEST = 64 * 1024
# What sealing adds to the largest plaintext, rounded up.
LARGEST_CIPHERTEXT = LARGEST + 1024
WRONG_KEY = "Decryption failed: verify that 'name' refers to the correct CryptoKey."
BROKEN = "Decryption failed: the ciphertext is invalid."


def encrypt(store: Store, request: Any) -> Any:
    """Encrypt with the version that is named, or with the key's primary one."""
    _check(request, "plaintext", LARGEST)
    _check(request, "additional_authenticated_data", LARGEST)
    version, material = _sealing(store, request.name)
    ciphertext = cipher.seal(version, material, request.plaintext, request.additional_authenticated_data)
    return types.EncryptResponse(
        name=version,
        ciphertext=ciphertext,
        ciphertext_crc32c=google_crc32c.value(ciphertext),
        verified_plaintext_crc32c=request.plaintext_crc32c is not None,
        verified_additional_authenticated_data_crc32c=request.additional_authenticated_data_crc32c
        is not None,
        protection_level=SOFTWARE,
    )


def decrypt(store: Store, request: Any) -> Any:
    """Decrypt with the version that the ciphertext names, if it is one of this key's."""
    if not request.ciphertext:
        raise invalid("ciphertext must not be empty.")
    _check(request, "ciphertext", LARGEST_CIPHERTEXT)
    _check(request, "additional_authenticated_data", LARGEST)
    material, is_primary = _opening(store, request)
    try:
        plaintext = cipher.unseal(request.ciphertext, material, request.additional_authenticated_data)
    except cipher.Broken as error:
        raise invalid(BROKEN) from error
    return types.DecryptResponse(
        plaintext=plaintext,
        plaintext_crc32c=google_crc32c.value(plaintext),
        used_primary=is_primary,
        protection_level=SOFTWARE,
    )


def _sealing(store: Store, name: str) -> tuple[str, bytes]:
    """The version to encrypt with, and its material."""
    with store.reading():
        key = store.crypto_key(names.key_of(name))
        version = store.version(name) if name != key.name else key.primary
        _need_enabled(version)
        return version.name, store.material[version.name]


def _opening(store: Store, request: Any) -> tuple[bytes, bool]:
    """The material to decrypt with, and whether it is the primary version's."""
    with store.reading():
        key = store.crypto_key(request.name)
        try:
            name = store.version_of_handle(cipher.handle_in(request.ciphertext))
        except cipher.Broken as error:
            raise invalid(BROKEN) from error
        if not name:
            raise invalid(BROKEN)
        if names.key_of(name) != request.name:
            raise invalid(WRONG_KEY)
        version = store.version(name)
        _need_enabled(version)
        return store.material[name], key.primary.name == name


def _need_enabled(version: Any) -> None:
    if version.state != State.ENABLED:
        raise wrong_state(version.name, "enabled", version.state.name)


def _check(request: Any, field: str, largest: int) -> None:
    """Refuse a field that is too long or does not match its checksum."""
    value, expected = getattr(request, field), getattr(request, f"{field}_crc32c")
    if len(value) > largest:
        raise invalid(f"The {field} is {len(value)} bytes long, but must be no longer than {largest} bytes.")
    if expected is not None and expected != google_crc32c.value(value):
        raise bad_checksum(field)
