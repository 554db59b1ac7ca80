"""Re-encrypting encrypted files: with the newest version of their key, or with another key.

One file at a time is all or nothing: it is decrypted, encrypted, decrypted again and compared, and only
then does the new file replace the old one.  Interrupted anywhere, a second run finishes the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tasks.lib import console
from tasks.lib.errors import Failure, UsageError
from tasks.lib.kms.client import Kms, connected
from tasks.lib.kms.errors import NotPermitted
from tasks.lib.kms.keys import parse as parse_key
from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import all_of, as_encrypter, open_file, overwrite
from tasks.lib.secrets.envelope import parse, seal, unseal
from tasks.lib.secrets.files import SecretFile
from tasks.lib.settings.model import Settings


@dataclass(frozen=True)
class Connections:
    """The two clients that re-encryption needs, as the deployer and as the key owner."""

    opener: Kms
    sealer: Kms

    def close(self) -> None:
        """Close both."""
        self.opener.close()
        self.sealer.close()


def rotate(settings: Settings, files: Sequence[SecretFile]) -> dict[SecretFile, bool]:
    """Re-encrypt every file that an older key version encrypted, then check all of them again.

    Returns whether each file was rewritten. Raises Failure where at least one file is unchanged; every
    problem is listed, and a second run does the rest.
    """
    failed = "could not be rotated; ./inv secrets.rotate does the rest"
    with _connected(settings) as clients:
        done = all_of(files, partial(_renew, clients), clients.close, failed)
        all_of(files, partial(_expect_primary, clients.opener), clients.close, failed)
    return done


def rekey(settings: Settings, files: Sequence[SecretFile], key: str) -> dict[SecretFile, bool]:
    """Re-encrypt every file with another key, given by its full name; the settings still name the old key.

    Returns whether each file was rewritten: one that has the new key already is left alone. Raises UsageError
    where `key` is not the name of a key, Failure where at least one file is unchanged; every problem is
    listed, and a second run does the rest.
    """
    name = parse_key(key)
    if name is None or name.version:
        raise UsageError(
            f"{key} is not the name of a key.",
            "",
            "Give its name in the key ring, or projects/…/locations/…/keyRings/…/cryptoKeys/NAME",
        )
    failed = "still have their old key; run it again for them"
    with _connected(settings) as clients:
        return all_of(files, partial(_move, clients, key), clients.close, failed)


def add_versions(settings: Settings, keys: Sequence[str]) -> None:
    """Make a new primary version of each key, as its owner."""
    with connected(as_encrypter(settings)) as kms:
        for key in keys:
            kms.add_primary_version(key)


def disposable_versions(settings: Settings, keys: Sequence[str]) -> list[str]:
    """Commands that disable the versions no file needs any more; without the permission, that list them."""
    with connected(as_encrypter(settings)) as kms:
        return [command for key in keys for command in _commands(kms, key)]


@contextmanager
def _connected(settings: Settings) -> Iterator[Connections]:
    with connected(settings) as opener, connected(as_encrypter(settings)) as sealer:
        yield Connections(opener, sealer)


def _renew(clients: Connections, file: SecretFile) -> bool:
    """Rewrite one file if an older version encrypted it."""
    content = file.encrypted()
    opened = unseal(clients.opener, file, content)
    if opened.used_primary:
        return False
    _rewrite(clients, file, content, opened.plaintext)
    return True


def _move(clients: Connections, key: str, file: SecretFile) -> bool:
    """Rewrite one file with another key if it does not have it yet."""
    target, content = replace(file, key=key), file.encrypted()
    if file.key == key or _has_key(clients.opener, target, content):
        return False
    _rewrite(clients, target, content, unseal(clients.opener, file, content).plaintext)
    return True


def _rewrite(clients: Connections, target: SecretFile, content: bytes, plaintext: Secret) -> None:
    """Encrypt for `target`, check that the new file decrypts to the same, and replace the old one by it."""
    sealed = seal(clients.sealer, target, plaintext, parse(content).form)
    if unseal(clients.opener, target, sealed).plaintext != plaintext:
        raise Failure(
            "The re-encrypted file does not decrypt to the same bytes.",
            f"{target.shown} is unchanged.",
            "Try again, and report this.",
        )
    overwrite(target, content, sealed)


def _has_key(kms: Kms, target: SecretFile, content: bytes) -> bool:
    """Whether an earlier, interrupted run has moved this file already."""
    if header := parse(content).header:
        return header.key == target.key
    try:
        unseal(kms, target, content)
    except NotPermitted:
        raise
    except Failure:
        return False  # raw, and still under the old key
    return True


def _expect_primary(kms: Kms, file: SecretFile) -> None:
    if not open_file(kms, file).used_primary:
        raise Failure(
            "It was re-encrypted, but not with the primary version yet.",
            "KMS switches to a new primary version within minutes, at times hours.",
            "Run ./inv secrets.rotate again later.",
        )


def _commands(kms: Kms, key: str) -> list[str]:
    name = parse_key(key)
    if name is None:
        return []
    try:
        replaced = kms.replaced_versions(key)
    except NotPermitted:
        return [f"{name.gcloud('versions', 'list', '--key', name.key)}   # then disable all but the primary"]
    return [name.gcloud("versions", "disable", number, "--key", name.key) for number in replaced]


def show_rewritten(done: Mapping[SecretFile, bool]) -> None:
    """Say which files were re-encrypted."""
    for file, is_rewritten in sorted(done.items(), key=lambda item: not item[1]):
        console.say(f"{file.bound_to}: {'re-encrypted and verified' if is_rewritten else 'nothing to do'}")


def show_skipped(strays: Sequence[Path], disposable: Sequence[str]) -> None:
    """Name the encrypted files that were not in the settings, and the commands for versions not needed.

    A skipped file may need such a version.
    """
    for path in strays:
        console.say(f"{path.name} was skipped: it is not in the settings.")
    if disposable:
        console.say("No file here needs these versions any more; older commits and branches do:")
        for command in disposable:
            console.say(f"  {command}")
