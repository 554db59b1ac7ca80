"""Seals of releases: an HMAC under a key of the deploying side, kept among the encrypted secrets.

Whoever may write ConfigMaps in the namespace can change the history.  A rollback applies what the history
holds with the deployer's rights, so it first checks that a deploy wrote it.  The key never reaches the
cluster.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from tasks.lib.deploy.history import Release
from tasks.lib.errors import Failure
from tasks.lib.kms.client import connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import open_file
from tasks.lib.secrets.files import RELEASE_KEY, SecretFile, one_file
from tasks.lib.settings.model import Environment, Settings

FACT: Final = "seal"
SHORTEST: Final = 32  # characters; a key is random text
ALTERED: Final = "Its seal does not fit: somebody changed it, or another key sealed it."
UNSEALED: Final = "It has no seal: it was kept before there was a release key, or by somebody else."


@dataclass(frozen=True)
class Seal:
    """What seals the releases of one environment."""

    place: tuple[str, str]  # the environment and its namespace; a seal holds nowhere else
    keys: tuple[bytes, ...] = ()  # the first one seals, and each may have sealed what is checked
    problem: str = ""  # why there is no key; empty where there is one

    def sealed(self, past: Release) -> Release:
        """The release with its seal among the facts; as it is where there is no key."""
        if not self.keys:
            return past
        return replace(past, facts={**past.facts, FACT: self._code(self.keys[0], past)})

    def doubt(self, past: Release) -> str:
        """Why a release may not be what a deploy wrote; empty where its seal holds."""
        if self.problem:
            return self.problem
        if FACT not in past.facts:
            return UNSEALED
        codes = (self._code(key, past) for key in self.keys)
        return "" if any(hmac.compare_digest(code, past.facts[FACT]) for code in codes) else ALTERED

    def _code(self, key: bytes, past: Release) -> str:
        facts = {name: text for name, text in past.facts.items() if name != FACT}
        content = json.dumps([self.place, past.number, facts, past.packed], sort_keys=True)
        return hmac.new(key, content.encode(), "sha256").hexdigest()


def of(settings: Settings, environment: Environment, plaintexts: Mapping[str, Secret]) -> Seal:
    """The seal out of an environment's decrypted files, by file name; the release key may be missing."""
    place = (environment.name, environment.namespace)
    if not environment.secrets.seals:
        return Seal(place, problem=f"environments.{environment.name}.secrets.release_key is empty.")
    if RELEASE_KEY not in plaintexts:
        return Seal(place, problem=_missing(one_file(settings, environment, RELEASE_KEY)))
    keys = tuple(plaintexts[RELEASE_KEY].reveal().split())
    if not keys or min(map(len, keys)) < SHORTEST:
        return Seal(place, problem=f"A key in {RELEASE_KEY} has fewer than {SHORTEST} characters.")
    return Seal(place, keys)


def decrypted(settings: Settings, environment: Environment) -> Seal:
    """The seal, its key decrypted by itself; where that fails, a seal that says why it can check nothing."""
    if not environment.secrets.seals:
        return of(settings, environment, {})
    place, file = (environment.name, environment.namespace), one_file(settings, environment, RELEASE_KEY)
    if not file.ciphertext.exists():
        return Seal(place, problem=_missing(file))
    try:
        with connected(settings) as kms:
            return of(settings, environment, {RELEASE_KEY: open_file(kms, file).plaintext})
    except Failure as failure:
        return Seal(place, problem=f"{file.shown} cannot be decrypted: {failure.what} {failure.why}")


def _missing(file: SecretFile) -> str:
    return f"There is no {file.shown}; docs/rollback.md says how to make it."


def require(seal: Seal, past: Release, environment: str) -> None:
    """Raise Failure where it cannot be told that a deploy wrote this release."""
    if doubt := seal.doubt(past):
        raise Failure(
            f"Cannot roll back to release {past.number}: it cannot be trusted.",
            doubt,
            f"Look at it: ./inv release.show --environment {environment}, then show its plan and decide: "
            f"./inv release.rollback --environment {environment} --to {past.number} --accept-unsealed",
        )
