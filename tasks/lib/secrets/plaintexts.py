"""Plaintext files on disk: those to be encrypted, and those that `decrypt` writes for git to ignore."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.lib import console
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import remove_leftovers, write_atomically
from tasks.lib.redaction import Secret
from tasks.lib.secrets import git
from tasks.lib.secrets.expected import findings_in, lacking, refuse_emptied, refuse_errors, refuse_unfit
from tasks.lib.secrets.files import SecretFile, known_files, one_file, secret_files
from tasks.lib.settings.model import Environment, Settings
from tasks.lib.signals import uninterrupted

PLAINTEXT_MODE = 0o600
# Reads paths from stdin and prints those that git ignores; exits with 1 when it ignores none.
CHECK_IGNORE = ("git", "check-ignore", "--stdin", "-z")


def refuse_unclear(name: str, is_all: bool, source: str) -> None:
    """Refuse to guess: one file has to be named or all of them, and one source is not for all."""
    if bool(name) == is_all or (is_all and source):
        raise UsageError(
            "Name one file, or all of them: not both, and not one --source for all.",
            "",
            "./inv secrets.encrypt FILE [--source PATH] --environment E, or ./inv secrets.encrypt --all …",
        )


def read(settings: Settings, environment: Environment, name: str, source: str = "") -> dict[str, Secret]:
    """The plaintexts to encrypt by file name: of one file, or of all that are there for an empty `name`.

    `source` is where that one file's plaintext is; empty for where `decrypt` writes it. Raises UsageError
    where there is no such secret file, or no plaintext; Failure where a plaintext cannot be read.
    """
    files = [one_file(settings, environment, name)] if name else secret_files(settings, environment)
    paths = {file.name: Path(source) if source and name else file.plaintext for file in files}
    found = {name: _read(path) for name, path in paths.items() if path.is_file()}
    if not found:
        raise UsageError(
            "There is no plaintext to encrypt.",
            "\n".join(
                f"- {path} {'is not a file' if path.exists() else 'does not exist'}."
                for path in paths.values()
            ),
            "Name it with --source, or put it there; ./inv decrypt writes what is encrypted now.",
        )
    return found


def _read(path: Path) -> Secret:
    try:
        return Secret(path.read_bytes())
    except OSError as error:
        look = shlex.join(("ls", "-l", str(path)))
        raise Failure("The plaintext cannot be read.", str(error), look) from error


def check(settings: Settings, environment: Environment, given: Mapping[str, Secret]) -> None:
    """Refuse plaintexts that kustomize or Kubernetes would refuse, and say what is doubtful about the rest.

    Raises Failure where at least one has errors, or has lost all its keys; nothing was encrypted.
    """
    refuse_errors(given, "nothing was encrypted", "Fix the plaintext, then encrypt it again.")
    files = [file for file in known_files(settings, environment) if file.name in given]
    for file in files:
        refuse_emptied(file, given[file.name])
        refuse_unfit(file, given[file.name], settings.guard.keys_in_addresses)
    for file in files:
        for finding in findings_in(file.name, given[file.name]):
            console.say(f"{file.name}: {finding}")
        tell_lacking(file, given[file.name])


def tell_lacking(file: SecretFile, plaintext: Secret) -> None:
    """Say which expected keys a plaintext lacks: pods that ask for one do not start."""
    if keys := lacking(file, plaintext):
        console.say(f"{file.name}: lacks {', '.join(keys)}, which the manifests ask for")


def refuse_edited(
    environment: Environment, files: Sequence[SecretFile], plaintexts: Mapping[str, Secret]
) -> None:
    """Refuse to overwrite a plaintext that was edited: one that differs and is newer than its encrypted file.

    An older one is what was decrypted before the encrypted file changed. Raises Failure where some were; each
    is named, and nothing was written.
    """
    if edited := [file for file in files if _is_edited(file, plaintexts[file.name].reveal())]:
        keep = [file.command("encrypt", "--source", str(file.plaintext)) for file in edited]
        lose = shlex.join(("./inv", "decrypt", "--environment", environment.name, "--overwrite"))
        raise Failure(
            "Decrypted files were edited, so nothing was written.",
            "\n".join(f"- {file.plaintext} is newer than its .enc, and differs." for file in edited),
            "\n".join([*keep, f"or, to discard the edits: {lose}"]),
        )


def _is_edited(file: SecretFile, now: bytes) -> bool:
    try:
        written, encrypted = file.plaintext.stat().st_mtime_ns, file.ciphertext.stat().st_mtime_ns
        return written > encrypted and file.plaintext.read_bytes() != now
    except OSError:  # it does not exist, or writing will tell
        return False


def write(files: Sequence[SecretFile], plaintexts: Mapping[str, Secret]) -> None:
    """Write plaintexts where the tree expects them, each whole and for this user only.

    What an earlier call that was killed left half-written is removed; a signal waits until all are there.
    Raises Failure where git would see one of them, and nothing was written; or one cannot be written, and
    none is left but those of an earlier run that cannot be removed either.
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
        left = [f"{path} of an earlier run is still there." for path in _not_removed(files)]
        outcome = "and cannot be removed" if left else "so none is left"
        raise Failure(
            f"The decrypted secrets cannot be written, {outcome}.",
            "\n".join([str(error), *left]),
            "Make room, or fix secrets.plaintexts in invoke.yaml.",
        ) from error


def _not_removed(files: Sequence[SecretFile]) -> list[Path]:
    """Remove all plaintexts; the paths of those that cannot be removed."""
    for file in files:
        with suppress(OSError):
            file.plaintext.unlink()
    return [file.plaintext for file in files if file.plaintext.is_file()]


def _check_ignored(paths: Sequence[Path]) -> None:
    """Refuse to put plaintext where a commit could pick it up; outside a checkout there is no such danger."""
    folder = git.folder_of(paths[0])
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return
    asked = "\0".join(map(str, paths)).encode()
    ignored = git.output(CHECK_IGNORE, folder, asked, success=(0, 1)).decode().split("\0")
    if seen := [path for path in paths if str(path) not in ignored]:
        raise Failure(
            "Decrypted secrets would be visible to git, so nothing was written.",
            "\n".join(f"- {path} is not ignored." for path in seen),
            "Add the paths to .gitignore and .dockerignore, or fix secrets.plaintexts in invoke.yaml.",
        )
