"""Opening the secrets of an environment: into memory, or on request into files that git ignores."""

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from tasks.lib import process
from tasks.lib.errors import Failure
from tasks.lib.files import remove_leftovers, write_atomically
from tasks.lib.kms.client import Kms, Opened, connected
from tasks.lib.secrets.files import SecretFile, secret_files
from tasks.lib.secrets.formats import unseal
from tasks.lib.secrets.together import for_each, one_error
from tasks.lib.signals import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tasks.lib.redaction import Secret
    from tasks.lib.settings.model import Environment, Settings

PLAINTEXT_MODE = 0o600
# Reads paths from stdin and prints those that git ignores; exits with 1 when it ignores none.
CHECK_IGNORE = ("git", "check-ignore", "--stdin", "-z")
GIT_SECONDS = 10


def decrypt_all(settings: "Settings", environment: "Environment") -> "dict[str, Secret]":
    """Decrypt every secret of an environment, in parallel, into memory; without any, nobody is asked.

    Returns:
        The plaintexts by file name.

    Raises:
        Failure: at least one could not be decrypted; every fault is listed.

    """
    files = secret_files(settings, environment)
    if not files:
        return {}
    with connected(settings) as kms:
        opened, failures = for_each(files, lambda file: open_file(kms, file), kms.close)
    if failures:
        raise one_error(f"of {environment.name} could not be decrypted", len(files), failures)
    return {file.name: found.plaintext for file, found in opened.items()}


def open_file(kms: Kms, file: SecretFile) -> Opened:
    """Decrypt one file, whichever form it has.

    Raises:
        Failure: it is missing, damaged, of another key, or KMS does not let us.

    """
    return unseal(kms, file, file.encrypted())


def refuse_edited(
    environment: "Environment", files: "Sequence[SecretFile]", plaintexts: "Mapping[str, Secret]"
) -> None:
    """Check that no plaintext was edited by hand: one that differs and is younger than its encrypted file.

    An older one is what was decrypted before the encrypted file changed.

    Raises:
        Failure: some were; each is named, and nothing was written.

    """
    if edited := [file for file in files if _is_edited(file, plaintexts[file.name].reveal())]:
        keep = [file.command("encrypt", "--source", str(file.plaintext)) for file in edited]
        lose = shlex.join(("./inv", "decrypt", "--environment", environment.name, "--overwrite"))
        raise Failure(
            "Decrypted files were edited by hand, so nothing was written.",
            "\n".join(f"- {file.plaintext} is younger than its .enc, and differs." for file in edited),
            "\n".join([*keep, f"or, to lose what was edited: {lose}"]),
        )


def _is_edited(file: SecretFile, now: bytes) -> bool:
    try:
        written, encrypted = file.plaintext.stat().st_mtime_ns, file.ciphertext.stat().st_mtime_ns
        return written > encrypted and file.plaintext.read_bytes() != now
    except OSError:  # none is there, or writing will tell
        return False


def write_plaintexts(files: "Sequence[SecretFile]", plaintexts: "Mapping[str, Secret]") -> None:
    """Write plaintexts where the tree expects them, each whole and for this user only.

    What an earlier call left half-written, that was killed, is removed; a signal waits until all are there.

    Raises:
        Failure: git would see one of them, and nothing was written; or one cannot be written, and none is
            left but those of an earlier run that cannot be removed either.

    """
    if not files:
        return
    _check_ignored([file.plaintext for file in files])
    try:
        with uninterrupted():
            for file in files:
                remove_leftovers(file.plaintext)
                write_atomically(file.plaintext, plaintexts[file.name].reveal(), PLAINTEXT_MODE)
    except OSError as error:
        for file in files:
            with suppress(OSError):
                file.plaintext.unlink()
        left = [
            f"{file.plaintext} of an earlier run is still there."
            for file in files
            if file.plaintext.is_file()
        ]
        outcome = "and cannot be removed" if left else "so none is left"
        raise Failure(
            f"The decrypted secrets cannot be written, {outcome}.", "\n".join([str(error), *left]),
            "Make room, or mend secrets.plaintexts in invoke.yaml.",
        ) from error  # fmt: skip


def _check_ignored(paths: "Sequence[Path]") -> None:
    """Refuse to put plaintext where a commit could pick it up; outside a checkout there is no such danger."""
    folder = next(folder for folder in paths[0].parents if folder.is_dir())
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return
    asked = "\0".join(map(str, paths)).encode()
    answer = process.run(CHECK_IGNORE, stdin=asked, time_limit=GIT_SECONDS, cwd=folder, success=(0, 1))
    ignored = answer.stdout.decode().split("\0")
    if seen := [path for path in paths if str(path) not in ignored]:
        raise Failure(
            "Decrypted secrets would be visible to git, so nothing was written.",
            "\n".join(f"- {path} is not ignored." for path in seen),
            "Add the paths to .gitignore and .dockerignore, or mend secrets.plaintexts in invoke.yaml.",
        )
