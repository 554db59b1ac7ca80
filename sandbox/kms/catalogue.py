"""Every RPC the service knows, as a table: messages, what it acts on, what it takes, where REST has it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.kms import access, administration, use
from sandbox.kms.names import CRYPTO_KEY, KEY_RING, LOCATION, VERSION
from sandbox.kms.store import Store
from tasks.lib.kms.messages import messages

resources = service = messages()


@dataclass(frozen=True)
class Rpc:
    """One RPC.

    Args:
        request: the message that it takes.
        response: the message that it gives.
        permission: what the caller must be allowed to do.
        resource: the request's field, dotted, that names what it acts on.
        patterns: the forms that name may have.
        run: what does the work.
        rest: the HTTP method and path; `{…}` stands for the resource's name.
        body: the field that the HTTP body fills; `*` for the whole request.
    """

    request: Any
    response: Any
    permission: str
    resource: str
    patterns: tuple[str, ...]
    run: Callable[[Store, Any], Any]
    rest: tuple[str, str]
    body: str = "*"

    def acts_on(self, request: Any) -> str:
        """The name in `request` of what it acts on."""
        value = request
        for part in self.resource.split("."):
            value = getattr(value, part)
        return str(value)


def _cloudkms(permission: str) -> str:
    return f"cloudkms.{permission}"


RPCS = {
    "ListKeyRings": Rpc(
        service.ListKeyRingsRequest, service.ListKeyRingsResponse, _cloudkms("keyRings.list"),
        "parent", (LOCATION,), administration.list_key_rings, ("GET", "{}/keyRings"), ""),
    "GetKeyRing": Rpc(
        service.GetKeyRingRequest, resources.KeyRing, _cloudkms("keyRings.get"),
        "name", (KEY_RING,), administration.get_key_ring, ("GET", "{}"), ""),
    "CreateKeyRing": Rpc(
        service.CreateKeyRingRequest, resources.KeyRing, _cloudkms("keyRings.create"),
        "parent", (LOCATION,), administration.create_key_ring, ("POST", "{}/keyRings"), "key_ring"),
    "ListCryptoKeys": Rpc(
        service.ListCryptoKeysRequest, service.ListCryptoKeysResponse, _cloudkms("cryptoKeys.list"),
        "parent", (KEY_RING,), administration.list_crypto_keys, ("GET", "{}/cryptoKeys"), ""),
    "GetCryptoKey": Rpc(
        service.GetCryptoKeyRequest, resources.CryptoKey, _cloudkms("cryptoKeys.get"),
        "name", (CRYPTO_KEY,), administration.get_crypto_key, ("GET", "{}"), ""),
    "CreateCryptoKey": Rpc(
        service.CreateCryptoKeyRequest, resources.CryptoKey, _cloudkms("cryptoKeys.create"),
        "parent", (KEY_RING,), administration.create_crypto_key, ("POST", "{}/cryptoKeys"), "crypto_key"),
    "UpdateCryptoKey": Rpc(
        service.UpdateCryptoKeyRequest, resources.CryptoKey, _cloudkms("cryptoKeys.update"),
        "crypto_key.name", (CRYPTO_KEY,), administration.update_crypto_key, ("PATCH", "{}"), "crypto_key"),
    "UpdateCryptoKeyPrimaryVersion": Rpc(
        service.UpdateCryptoKeyPrimaryVersionRequest, resources.CryptoKey, _cloudkms("cryptoKeys.update"),
        "name", (CRYPTO_KEY,), administration.update_crypto_key_primary_version,
        ("POST", "{}:updatePrimaryVersion")),
    "ListCryptoKeyVersions": Rpc(
        service.ListCryptoKeyVersionsRequest, service.ListCryptoKeyVersionsResponse,
        _cloudkms("cryptoKeyVersions.list"), "parent", (CRYPTO_KEY,),
        administration.list_crypto_key_versions, ("GET", "{}/cryptoKeyVersions"), ""),
    "GetCryptoKeyVersion": Rpc(
        service.GetCryptoKeyVersionRequest, resources.CryptoKeyVersion, _cloudkms("cryptoKeyVersions.get"),
        "name", (VERSION,), administration.get_crypto_key_version, ("GET", "{}"), ""),
    "CreateCryptoKeyVersion": Rpc(
        service.CreateCryptoKeyVersionRequest, resources.CryptoKeyVersion,
        _cloudkms("cryptoKeyVersions.create"), "parent", (CRYPTO_KEY,),
        administration.create_crypto_key_version, ("POST", "{}/cryptoKeyVersions"), "crypto_key_version"),
    "UpdateCryptoKeyVersion": Rpc(
        service.UpdateCryptoKeyVersionRequest, resources.CryptoKeyVersion,
        _cloudkms("cryptoKeyVersions.update"), "crypto_key_version.name", (VERSION,),
        administration.update_crypto_key_version, ("PATCH", "{}"), "crypto_key_version"),
    "DestroyCryptoKeyVersion": Rpc(
        service.DestroyCryptoKeyVersionRequest, resources.CryptoKeyVersion,
        _cloudkms("cryptoKeyVersions.destroy"), "name", (VERSION,),
        administration.destroy_crypto_key_version, ("POST", "{}:destroy")),
    "RestoreCryptoKeyVersion": Rpc(
        service.RestoreCryptoKeyVersionRequest, resources.CryptoKeyVersion,
        _cloudkms("cryptoKeyVersions.restore"), "name", (VERSION,),
        administration.restore_crypto_key_version, ("POST", "{}:restore")),
    "Encrypt": Rpc(
        service.EncryptRequest, service.EncryptResponse, access.USE_TO_ENCRYPT,
        "name", (CRYPTO_KEY, VERSION), use.encrypt, ("POST", "{}:encrypt")),
    "Decrypt": Rpc(
        service.DecryptRequest, service.DecryptResponse, access.USE_TO_DECRYPT,
        "name", (CRYPTO_KEY,), use.decrypt, ("POST", "{}:decrypt")),
}  # fmt: skip
