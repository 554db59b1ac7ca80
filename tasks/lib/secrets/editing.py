"""Changing secrets, a file in an editor or one value: the encrypted file changes last, or not at all."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib import console, process
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv, formats
from tasks.lib.secrets.encryption import CIPHERTEXT_MODE
from tasks.lib.secrets.expected import findings_in, refuse_faults
from tasks.lib.secrets.files import SecretFile
from tasks.lib.secrets.formats import Form, seal, unseal
from tasks.lib.secrets.identities import as_encrypter
from tasks.lib.workspace import workspace

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

# Vim would keep pieces of the text in its swap, undo and info files, which outlive the editing.
VIM_WITHOUT_TRACES = ("-n", "-i", "NONE", "--cmd", "set nobackup nowritebackup noundofile")


def edit(settings: "Settings", file: SecretFile, environ: Mapping[str, str]) -> bool:
    """Open a file's plaintext in the editor, in memory, and encrypt it if it was changed.

    Returns:
        Whether it was changed.

    Raises:
        Failure: it cannot be decrypted or encrypted, the editor failed, or the text is not valid, and the
            person at the terminal did not want to try again; the encrypted file is as it was.

    """
    before, form = _opened(settings, file)
    with workspace() as folder:
        path = folder / file.name
        write_atomically(path, before.reveal())
        argv = editor_argv(environ, path)
        while True:
            if code := process.stream(argv):
                raise process.exit_failure(argv, code, b"")
            after = Secret(path.read_bytes())
            if after == before:
                return False
            try:
                save(settings, file, after, form)
            except Failure as failure:
                if not _wants_to_go_on(failure):
                    raise
            else:
                return True


def _wants_to_go_on(failure: Failure) -> bool:
    """Ask whether to open the editor again, so that nobody's typing is lost; without a terminal: no."""
    if not sys.stdin.isatty():
        return False
    console.say(str(failure))
    console.say("Your text is still there. Open the editor again? [Y/n]")
    return sys.stdin.readline().strip().lower() in {"", "y", "yes"}


def set_value(settings: "Settings", file: SecretFile, key: str, value: Secret) -> bool:
    """Set one key of an env file; tell whether that changed it.

    Raises:
        UsageError: the value cannot stand in an env file, or the file is none.
        Failure: it cannot be decrypted or encrypted; it is as it was.

    """
    if not file.name.endswith(".env"):
        raise UsageError(f"{file.name} is no env file.", "", f"./inv secrets.edit {file.name}")
    if b"\n" in value.reveal() or b"\0" in value.reveal():
        raise UsageError(
            f"The value of {key} cannot stand in an env file.", "It has a line feed or a NUL byte."
        )
    before, form = _opened(settings, file)
    after = Secret(dotenv.changed(before.reveal(), key, value.reveal()))
    if after == before:
        return False
    save(settings, file, after, form)
    return True


def save(settings: "Settings", file: SecretFile, plaintext: Secret, form: Form) -> None:
    """Encrypt a file, unless its text is not valid.

    Raises:
        Failure: it is not, or it cannot be encrypted; the encrypted file is as it was.

    """
    refuse_faults(file.name, findings_in(file.name, plaintext), "nothing was encrypted")
    with connected(as_encrypter(settings)) as kms:
        sealed = seal(kms, file, plaintext, form)
    write_atomically(file.ciphertext, sealed, CIPHERTEXT_MODE)


def editor_argv(environ: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """The command that opens `path`: $VISUAL, else $EDITOR, which may have arguments.

    Raises:
        UsageError: neither is set.

    """
    chosen = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "")
    if not chosen:
        raise UsageError("No editor is chosen.", "Neither VISUAL nor EDITOR is set.", "export EDITOR=nano")
    is_vim = Path(chosen[0]).name in {"vim", "nvim"}
    return (*chosen, *(VIM_WITHOUT_TRACES if is_vim else ()), str(path))


def file_with(settings: "Settings", files: list[SecretFile], key: str) -> SecretFile:
    """The env file that `key` belongs to: the one whose list of expected keys has it.

    Raises:
        UsageError: no list has it.

    """
    from tasks.lib.secrets.expected import expected_keys

    env_files = [file for file in files if file.name.endswith(".env")]
    for file in env_files:
        if key in (expected_keys(file) or ()):
            return file
    names = ", ".join(file.name for file in env_files)
    raise UsageError(
        f"No file is expected to hold {key}.", f"The lists of {names} in {settings.kustomize.tree} lack it.",
        "Name the file: --file lookit-secrets.env (and add the key to its .expected list).",
    )  # fmt: skip


def _opened(settings: "Settings", file: SecretFile) -> tuple[Secret, Form]:
    """A file's plaintext and its form."""
    content = file.encrypted()
    with connected(settings) as kms:
        return unseal(kms, file, content).plaintext, formats.parse(content).form
