"""Who calls and what they may do, read from two files that can change at any time.

`tokens.json` is that of the sandbox's token endpoint; `policy.json` maps e-mail addresses, or `*`, to lists
of roles, as a project's IAM policy does.
"""

import json
from pathlib import Path

from sandbox.cloud import tokens
from sandbox.kms.refusals import not_authenticated, not_permitted, out_of_scope

DEPLOYER = "deployer@lookit-sandbox.iam.gserviceaccount.com"
KEY_OWNER = "key-owner@lookit-sandbox.iam.gserviceaccount.com"
POLICY = "policy.json"

ADMIN = "roles/cloudkms.admin"
ENCRYPTER = "roles/cloudkms.cryptoKeyEncrypter"
DECRYPTER = "roles/cloudkms.cryptoKeyDecrypter"
# The deployer reads and the key owner writes: neither has the other's right.
DEFAULT_POLICY = {DEPLOYER: [DECRYPTER], KEY_OWNER: [ADMIN, ENCRYPTER]}

USE_TO_ENCRYPT = "cloudkms.cryptoKeyVersions.useToEncrypt"
USE_TO_DECRYPT = "cloudkms.cryptoKeyVersions.useToDecrypt"
READ = frozenset(
    f"cloudkms.{kind}.{verb}" for kind in ("cryptoKeys", "cryptoKeyVersions") for verb in ("get", "list")
)
WRITE = frozenset({
    "cloudkms.keyRings.create", "cloudkms.cryptoKeys.create", "cloudkms.cryptoKeys.update",
    "cloudkms.cryptoKeyVersions.create", "cloudkms.cryptoKeyVersions.update",
})  # fmt: skip
PERMISSIONS = {
    "roles/cloudkms.viewer": READ,
    ADMIN: READ | WRITE,
    ENCRYPTER: frozenset({USE_TO_ENCRYPT}),
    DECRYPTER: frozenset({USE_TO_DECRYPT}),
    "roles/cloudkms.cryptoKeyEncrypterDecrypter": frozenset({USE_TO_ENCRYPT, USE_TO_DECRYPT}),
    "roles/owner": READ | WRITE | {USE_TO_ENCRYPT, USE_TO_DECRYPT},
}


class Access:
    """Authentication and authorization by the two files in `state`."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def caller(self, authorization: str) -> str:
        """The e-mail address behind an `Authorization: Bearer …` header; else a Refusal."""
        if not authorization:
            raise not_authenticated("is missing required authentication credential")
        holder = tokens.holder(self._state, authorization.removeprefix("Bearer "))
        if not holder:
            raise not_authenticated("had invalid authentication credentials")
        if tokens.CLOUD_PLATFORM not in holder.scopes:
            raise out_of_scope()
        return holder.email

    def require(self, email: str, permission: str, resource: str) -> None:
        """Refuse a caller whose roles lack `permission`."""
        path = self._state / POLICY
        policy = json.loads(path.read_text()) if path.exists() else DEFAULT_POLICY
        roles = [*policy.get(email, []), *policy.get("*", [])]
        if not any(permission in PERMISSIONS.get(role, ()) for role in roles):
            raise not_permitted(permission, resource)
