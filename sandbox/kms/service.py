"""The RPCs as a table, and one call from beginning to end."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.kms import faults, keys, names, use
from sandbox.kms.access import Access
from sandbox.kms.names import CRYPTO_KEY, KEY_RING, LOCATION, VERSION
from sandbox.kms.refusals import Refusal
from sandbox.kms.store import Store

AUDIT_LOG = "audit.jsonl"


@dataclass(frozen=True)
class Rpc:
    """One RPC."""

    permission: str  # that the caller needs, without `cloudkms.`
    resource: str  # the request's field, dotted, that names what it acts on
    patterns: tuple[str, ...]  # the forms that name may have
    run: Callable[[Store, Any], Any]

    def acts_on(self, request: Any) -> str:
        """The name in `request` of what it acts on."""
        value = request
        for part in self.resource.split("."):
            value = getattr(value, part)
        return str(value)


RPCS = {
    "CreateKeyRing": Rpc("keyRings.create", "parent", (LOCATION,), keys.create_key_ring),
    "CreateCryptoKey": Rpc("cryptoKeys.create", "parent", (KEY_RING,), keys.create_crypto_key),
    "GetCryptoKey": Rpc("cryptoKeys.get", "name", (CRYPTO_KEY,), keys.get_crypto_key),
    "UpdateCryptoKeyPrimaryVersion": Rpc(
        "cryptoKeys.update", "name", (CRYPTO_KEY,), keys.update_crypto_key_primary_version
    ),
    "ListCryptoKeyVersions": Rpc(
        "cryptoKeyVersions.list", "parent", (CRYPTO_KEY,), keys.list_crypto_key_versions
    ),
    "CreateCryptoKeyVersion": Rpc(
        "cryptoKeyVersions.create", "parent", (CRYPTO_KEY,), keys.create_crypto_key_version
    ),
    "UpdateCryptoKeyVersion": Rpc(
        "cryptoKeyVersions.update", "crypto_key_version.name", (VERSION,), keys.update_crypto_key_version
    ),
    "Encrypt": Rpc("cryptoKeyVersions.useToEncrypt", "name", (CRYPTO_KEY, VERSION), use.encrypt),
    "Decrypt": Rpc("cryptoKeyVersions.useToDecrypt", "name", (CRYPTO_KEY,), use.decrypt),
}


class Service:
    """The key management service over one state folder."""

    def __init__(self, state: Path) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = Store(state)
        self._access = Access(state)
        self._faults = faults.Faults(state)
        self._audit_log = state / AUDIT_LOG
        self._audit_lock = threading.Lock()

    def call(
        self, rpc_name: str, request: Any, headers: Mapping[str, str], is_wanted: Callable[[], bool]
    ) -> Any:
        """Carry out one RPC, or refuse it; names of `headers` are in lower case."""
        entry = {
            "time": datetime.now(UTC).isoformat(),
            "rpc": rpc_name,
            "resource": RPCS[rpc_name].acts_on(request),
            "quota_project": headers.get("x-goog-user-project", ""),
        }
        try:
            entry["caller"] = self._access.caller(headers.get("authorization", ""))
            answer = self._carry_out(rpc_name, request, entry["caller"], is_wanted)
        except Refusal as refusal:
            self._audit({**entry, "code": refusal.code})
            raise
        self._audit({**entry, "code": "OK"})
        return answer

    def _carry_out(self, rpc_name: str, request: Any, caller: str, is_wanted: Callable[[], bool]) -> Any:
        rpc = RPCS[rpc_name]
        resource = rpc.acts_on(request)
        striking = self._faults.striking(rpc_name, resource)
        for fault in striking:
            faults.before(fault, is_wanted)
        names.check(resource, *rpc.patterns)
        self._access.require(caller, f"cloudkms.{rpc.permission}", resource)
        answer = rpc.run(self._store, request)
        for fault in striking:
            faults.after(fault, answer)
        return answer

    def _audit(self, entry: Mapping[str, str]) -> None:
        """Log who did what to which resource when, as Cloud Audit Logs would: never any content."""
        line = json.dumps(entry) + "\n"
        with self._audit_lock, self._audit_log.open("a") as log:
            log.write(line)
