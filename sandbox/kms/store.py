"""The keys on disk: one JSON file, 0600, replaced by every change.

Resources are google-cloud-kms's own messages, so that what is kept is what is answered.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.cloud.kms_v1 import types

from sandbox.kms import cipher, names
from sandbox.kms.refusals import not_found
from tasks.lib.files import write_atomically

FILE = "keys.json"
State = types.CryptoKeyVersion.CryptoKeyVersionState
SOFTWARE = types.ProtectionLevel.SOFTWARE
SYMMETRIC = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm.GOOGLE_SYMMETRIC_ENCRYPTION
KINDS: dict[str, Any] = {
    "key_rings": types.KeyRing,
    "crypto_keys": types.CryptoKey,
    "versions": types.CryptoKeyVersion,
}


class Store:
    """All key rings, keys and versions by name, and the versions' key material."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.RLock()
        self.key_rings: dict[str, Any] = {}
        self.crypto_keys: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.material: dict[str, bytes] = {}
        self._handles: dict[bytes, str] = {}
        self._load()

    @contextmanager
    def reading(self) -> Iterator["Store"]:
        """Keep changes out while something is read."""
        with self._lock:
            yield self

    @contextmanager
    def changing(self) -> Iterator["Store"]:
        """Keep others out while something is changed, and save the change before anyone sees it."""
        with self._lock:
            try:
                yield self
                self._save()
            except BaseException:
                self._load()  # a change that could not be saved did not happen
                raise

    def crypto_key(self, name: str) -> Any:
        """A key with its primary version as it is now."""
        if name not in self.crypto_keys:
            raise not_found("CryptoKey", name)
        key = types.CryptoKey(self.crypto_keys[name])
        key.primary = self.versions[key.primary.name]
        return key

    def version(self, name: str) -> Any:
        """A key version."""
        if name not in self.versions:
            raise not_found("CryptoKeyVersion", name)
        return self.versions[name]

    def versions_of(self, key: str) -> list[Any]:
        """A key's versions, oldest first."""
        found = [version for name, version in self.versions.items() if names.key_of(name) == key]
        return sorted(found, key=lambda version: int(version.name.rsplit("/", 1)[1]))

    def add_version(self, key: str) -> Any:
        """Make the next version of a key, with new material; the primary stays what it is."""
        name = f"{key}/cryptoKeyVersions/{len(self.versions_of(key)) + 1}"
        now = datetime.now(UTC)
        self.versions[name] = types.CryptoKeyVersion(
            name=name, state=State.ENABLED, protection_level=SOFTWARE, algorithm=SYMMETRIC,
            create_time=now, generate_time=now,
        )  # fmt: skip
        self.material[name] = cipher.new_material()
        self._handles[cipher.handle(name)] = name
        return self.versions[name]

    def make_primary(self, key: str, version: str) -> None:
        """Encrypt with `version` from now on."""
        self.crypto_keys[key].primary = types.CryptoKeyVersion(name=version)

    def version_of_handle(self, handle: bytes) -> str:
        """The version that a ciphertext's handle names; empty when there is none."""
        return self._handles.get(handle, "")

    def _load(self) -> None:
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        for kind, message in KINDS.items():
            setattr(self, kind, {r["name"]: message.from_json(json.dumps(r)) for r in kept.get(kind, [])})
        self.material = {name: base64.b64decode(key) for name, key in kept.get("material", {}).items()}
        self._handles = {cipher.handle(name): name for name in self.versions}

    def _save(self) -> None:
        kept: dict[str, Any] = {
            kind: [json.loads(message.to_json(resource)) for resource in getattr(self, kind).values()]
            for kind, message in KINDS.items()
        }
        kept["material"] = {name: base64.b64encode(key).decode() for name, key in self.material.items()}
        write_atomically(self._path, json.dumps(kept, indent=1).encode())
