"""Encrypting anew what is encrypted already: to a key's newer version, or to another key.

One file at a time is all or nothing: it is decrypted, encrypted, decrypted again and compared, and only
then does the new file take the old one's place.  Killed anywhere, a second run finishes the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasks.lib.errors import Failure, UsageError
from tasks.lib.kms.administration import add_primary_version, primary_version, versions
from tasks.lib.kms.client import Kms, connected
from tasks.lib.kms.diagnosis import NotPermitted
from tasks.lib.kms.keys import parse as parse_key
from tasks.lib.redaction import Secret
from tasks.lib.secrets import formats
from tasks.lib.secrets.encryption import overwrite
from tasks.lib.secrets.files import SecretFile
from tasks.lib.secrets.formats import seal, unseal
from tasks.lib.secrets.identities import as_encrypter
from tasks.lib.secrets.together import for_each, one_error

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


@dataclass(frozen=True)
class Outcome:
    """What became of the files, as `environment/name`."""

    rewritten: tuple[str, ...]
    untouched: tuple[str, ...]


@dataclass(frozen=True)
class Connections:
    """The two clients that re-encryption needs, as the deployer and as the key owner."""

    opener: Kms
    sealer: Kms

    def close(self) -> None:
        """Close both."""
        self.opener.close()
        self.sealer.close()


def rotate(settings: "Settings", files: Sequence[SecretFile]) -> Outcome:
    """Encrypt with the primary version every file that an older one encrypted; then read all of them again.

    Raises:
        Failure: at least one file is as it was; every fault is listed, and a second run does the rest.

    """
    with connected(settings) as opener, connected(as_encrypter(settings)) as sealer:
        clients = Connections(opener, sealer)
        done, failures = for_each(files, lambda file: _renew(clients, file), clients.close)
        if not failures:
            _, failures = for_each(files, lambda file: _expect_fresh(opener, file), opener.close)
    if failures:
        raise one_error("could not be rotated; ./inv secrets.rotate does the rest", len(files), failures)
    return _outcome(done)


def rekey(settings: "Settings", files: Sequence[SecretFile], key: str) -> Outcome:
    """Encrypt every file with another key, which may lie in another project.

    Args:
        settings: where KMS is; they still name the old key.
        files: which ones; one that has the new key already is left alone.
        key: the full name of the new key.

    Raises:
        UsageError: that is no name of a key.
        Failure: at least one file is as it was; every fault is listed, and a second run does the rest.

    """
    name = parse_key(key)
    if name is None or name.version:
        raise UsageError(
            "That is no name of a key.", f"{key} has another form.",
            "Give its name in the key ring, or projects/…/locations/…/keyRings/…/cryptoKeys/NAME",
        )  # fmt: skip
    with connected(settings) as opener, connected(as_encrypter(settings)) as sealer:
        clients = Connections(opener, sealer)
        done, failures = for_each(files, lambda file: _move(clients, file, key), clients.close)
    if failures:
        raise one_error("still have their old key; run it again for them", len(files), failures)
    return _outcome(done)


def add_versions(settings: "Settings", keys: Sequence[str]) -> list[str]:
    """Make a new primary version of each key; return their names.

    Raises:
        Failure: the key owner's role is missing, or KMS cannot be reached.

    """
    with connected(as_encrypter(settings)) as kms:
        return [add_primary_version(kms, key) for key in keys]


def disposable_versions(settings: "Settings", keys: Sequence[str]) -> list[str]:
    """Commands that disable what no file needs any more; how to find them, for someone who may not look."""
    with connected(as_encrypter(settings)) as kms:
        return [command for key in keys for command in _commands(kms, key)]


def _renew(clients: Connections, file: SecretFile) -> bool:
    """Rewrite one file if it is stale; tell whether it was."""
    content = file.encrypted()
    opened = unseal(clients.opener, file, content)
    if opened.used_primary:
        return False
    sealed = seal(clients.sealer, file, opened.plaintext, formats.parse(content).form)
    _expect_same(clients.opener, file, sealed, opened.plaintext)
    overwrite(file, content, sealed)
    return True


def _move(clients: Connections, file: SecretFile, key: str) -> bool:
    """Rewrite one file with another key if it has not got it; tell whether it had not."""
    target = replace(file, key=key)
    content = file.encrypted()
    if file.key == key or _has_key(clients.opener, target, content):
        return False
    opened = unseal(clients.opener, file, content)
    sealed = seal(clients.sealer, target, opened.plaintext, formats.parse(content).form)
    _expect_same(clients.opener, target, sealed, opened.plaintext)
    overwrite(target, content, sealed)
    return True


def _has_key(kms: Kms, target: SecretFile, content: bytes) -> bool:
    """Whether an earlier, interrupted run has moved this file already."""
    if header := formats.parse(content).header:
        return header.key == target.key
    try:
        unseal(kms, target, content)
    except NotPermitted:
        raise
    except Failure:
        return False  # raw, and still under the old key
    return True


def _expect_same(kms: Kms, file: SecretFile, sealed: bytes, plaintext: Secret) -> None:
    """See the new file decrypt to the same bytes, before it may take the old one's place."""
    if unseal(kms, file, sealed).plaintext != plaintext:
        raise Failure(
            "The file that was encrypted anew does not decrypt to the same bytes.",
            f"{file.shown} is as it was.", "Try again, and report this.",
        )  # fmt: skip


def _expect_fresh(kms: Kms, file: SecretFile) -> None:
    if not unseal(kms, file, file.encrypted()).used_primary:
        raise Failure(
            "It was encrypted anew, but not with the primary version yet.",
            "KMS takes a new primary version over within minutes, at times hours.",
            "Run ./inv secrets.rotate again later.",
        )


def _commands(kms: Kms, key: str) -> list[str]:
    name = parse_key(key)
    if name is None:
        return []
    try:
        found, primary = versions(kms, key), primary_version(kms, key)
    except NotPermitted:
        return [f"{name.gcloud('versions', 'list', '--key', name.key)}   # then disable all but the primary"]
    old = [version for version in found if version.state == "ENABLED" and version.name != primary]
    return [name.gcloud("versions", "disable", version.number, "--key", name.key) for version in old]


def _outcome(done: dict[SecretFile, bool]) -> Outcome:
    return Outcome(
        tuple(file.bound_to for file, is_new in done.items() if is_new),
        tuple(file.bound_to for file, is_new in done.items() if not is_new),
    )
