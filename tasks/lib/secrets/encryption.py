"""Sealing secrets: plaintexts of an environment into the encrypted files that are checked in."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib import console
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets.expected import findings_in, lacking, refuse_emptied, refuse_faults
from tasks.lib.secrets.files import SecretFile, known_files, one_file, secret_files
from tasks.lib.secrets.formats import Form, seal
from tasks.lib.secrets.identities import as_encrypter
from tasks.lib.secrets.together import for_each, one_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.lib.settings.model import Environment, Settings

CIPHERTEXT_MODE = 0o644


def encrypt_all(
    settings: "Settings",
    environment: "Environment",
    plaintexts: "Mapping[str, Secret]",
    form: Form = Form.HEADED,
) -> None:
    """Encrypt files of an environment, in parallel; all are encrypted before the first is written.

    Args:
        settings: where KMS is.
        environment: whose files they are; its settings name each file's key and folder.
        plaintexts: what to encrypt, by file name.
        form: the form to write.

    Raises:
        Failure: at least one could not be encrypted, and no file was changed; or one cannot be written, and
            is as it was.  Every fault is listed.

    """
    files = [file for file in known_files(settings, environment) if file.name in plaintexts]
    with connected(as_encrypter(settings)) as kms:
        sealed, failures = for_each(
            files, lambda file: seal(kms, file, plaintexts[file.name], form), kms.close
        )
    if failures:
        raise one_error(f"of {environment.name} could not be encrypted", len(files), failures)
    for file in files:
        try:
            _write(file, sealed[file])
        except Failure as failure:
            failures[file] = failure
    if failures:
        raise one_error(f"of {environment.name} could not be written", len(files), failures)


def overwrite(file: SecretFile, before: bytes, sealed: bytes) -> None:
    """Put a new encrypted file in the place of the one that was opened.

    Raises:
        Failure: that has changed since, or cannot be written; it is left as it is.

    """
    if file.encrypted() != before:
        raise Failure(
            f"{file.shown} has changed since it was opened, so it was left alone.",
            "Another task, or git, has written it meanwhile.",
            f"See what changed ({file.command('diff')}), then do it again.",
        )
    _write(file, sealed)


def _write(file: SecretFile, sealed: bytes) -> None:
    try:
        write_atomically(file.ciphertext, sealed, CIPHERTEXT_MODE)
    except OSError as error:
        look = shlex.join(("ls", "-ld", str(file.ciphertext.parent)))
        raise Failure(
            f"{file.shown} cannot be written, so it is as it was.", f"{error.strerror}.",
            f"Make room (df -h shows where), or look at owner and mode: {look}",
        ) from error  # fmt: skip


def which(name: str, is_all: bool, source: str) -> str:
    """The one file that is meant, or empty for all.

    Raises:
        UsageError: neither was named, or both, or one source for all.

    """
    if bool(name) == is_all or (is_all and source):
        raise UsageError(
            "Name one file, or all of them: not both, and not one --source for all.", "",
            "./inv secrets.encrypt FILE [--source PATH] --environment E, or ./inv secrets.encrypt --all …",
        )  # fmt: skip
    return name


def plaintexts(
    settings: "Settings", environment: "Environment", name: str, source: str = ""
) -> "dict[str, Secret]":
    """Read plaintext files that are to be encrypted.

    Args:
        settings: where the tree is.
        environment: whose files they are.
        name: one file, or empty for all whose plaintext is there.
        source: where that one file's plaintext is; empty for where `decrypt` writes it.

    Raises:
        UsageError: there is no such secret file, or no plaintext.
        Failure: a plaintext cannot be read.

    """
    files = [one_file(settings, environment, name)] if name else secret_files(settings, environment)
    paths = {file.name: Path(source) if source and name else file.plaintext for file in files}
    found = {name: _read(path) for name, path in paths.items() if path.is_file()}
    if not found:
        raise UsageError(
            "There is no plaintext to encrypt.",
            "\n".join(
                f"- {path} is {'no file' if path.exists() else 'not there'}." for path in paths.values()
            ),
            "Name it with --source, or put it there; ./inv decrypt writes what is encrypted now.",
        )
    return found


def _read(path: Path) -> Secret:
    try:
        return Secret(path.read_bytes())
    except OSError as error:
        raise Failure(
            "The plaintext cannot be read.", str(error), shlex.join(("ls", "-l", str(path)))
        ) from error


def check_all(settings: "Settings", environment: "Environment", given: "Mapping[str, Secret]") -> None:
    """Refuse plaintexts that kustomize or Kubernetes would refuse, and say what is doubtful about the rest.

    Args:
        settings: where the lists of expected keys are.
        environment: whose files they are.
        given: the plaintexts by file name.

    Raises:
        Failure: at least one has faults, or has lost all its keys; nothing was encrypted.

    """
    findings = {name: findings_in(name, plaintext) for name, plaintext in given.items()}
    refuse_faults(findings, "nothing was encrypted", "Mend the plaintext, then encrypt it again.")
    files = [file for file in known_files(settings, environment) if file.name in given]
    for file in files:
        refuse_emptied(file, given[file.name])
    for file in files:
        for finding in findings[file.name]:
            console.say(f"{file.name}: {finding}")
        tell_lacking(file, given[file.name])


def tell_lacking(file: SecretFile, plaintext: Secret) -> None:
    """Say which expected keys a plaintext lacks: pods that ask for one do not start."""
    if keys := lacking(file, plaintext):
        console.say(f"{file.name}: lacks {', '.join(keys)}, which the manifests ask for")
