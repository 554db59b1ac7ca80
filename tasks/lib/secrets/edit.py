"""Changing secrets, a file in an editor or one value: the encrypted file changes last, or not at all.

A value comes from a prompt that does not echo, or a pipe; from the command line only if that is accepted.
"""

import getpass
import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.lib import console, process, signals
from tasks.lib.errors import Failure, UsageError, nearest
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import connected
from tasks.lib.redaction import SHORTEST, Secret
from tasks.lib.secrets import dotenv
from tasks.lib.secrets.crypt import as_encrypter, overwrite
from tasks.lib.secrets.envelope import parse, seal, unseal
from tasks.lib.secrets.expected import expected_keys, findings_in, refuse_emptied, refuse_errors, refuse_unfit
from tasks.lib.secrets.files import SecretFile
from tasks.lib.secrets.plaintexts import tell_lacking
from tasks.lib.settings.model import Settings
from tasks.lib.workspace import workspace

# Vim would keep pieces of the text in its swap, undo and info files, which outlive the editing.  -c: what the
# person's own vimrc says comes before.
VIM_WITHOUT_TRACES = ("-n", "-i", "NONE", "-c", "set nobackup nowritebackup noundofile viminfo=")
# Debian's vi is a link to vim.basic, in two steps.
VIM = re.compile(r"n?vim(\..*)?")
NEAR = 0.75  # how similar a key has to be to be the one that was meant
YES = frozenset({"y", "yes"})


@dataclass(frozen=True)
class Before:
    """An encrypted file as it was found: its bytes, and what they hold."""

    content: bytes
    plaintext: Secret


def edit(settings: Settings, file: SecretFile, environ: Mapping[str, str]) -> bool:
    """Open a file's plaintext in the editor, in memory, and encrypt it if it was changed, which is returned.

    Raises UsageError where there is no editor, Failure where it cannot be decrypted or encrypted, the editor
    failed, or the text is not valid, and the person at the terminal did not want to try again; the encrypted
    file is unchanged.
    """
    before = _opened(settings, file)
    with workspace() as folder:
        path = folder / file.name
        write_atomically(path, before.plaintext.reveal())
        argv = editor_argv(environ, path)
        while True:
            after = _edited(argv, path)
            if after == before.plaintext:
                return False
            try:
                _save(settings, file, before, after)
            except Failure as failure:
                if not _wants_to_go_on(failure):
                    raise
            else:
                tell_lacking(file, after)
                return True


def set_value(settings: Settings, file: SecretFile, key: str, value: Secret) -> bool:
    """Set one key of an env file; whether that changed it.

    Raises UsageError where an env file cannot have the key or the value, or the file is not an env file;
    Failure where it cannot be decrypted or encrypted; it is unchanged.
    """
    if not file.name.endswith(".env"):
        raise UsageError(f"{file.name} is not an env file.", "", file.command("edit"))
    _check_key(key)
    _check_value(key, value)
    before = _opened(settings, file)
    after = Secret(dotenv.changed(before.plaintext.reveal(), key, value.reveal()))
    if after == before.plaintext:
        return False
    _save(settings, file, before, after)
    return True


def file_with(settings: Settings, files: list[SecretFile], key: str) -> SecretFile:
    """The env file whose list of expected keys has `key`; a UsageError where none has it."""
    lists = {file: expected_keys(file) or [] for file in files if file.name.endswith(".env")}
    for file, keys in lists.items():
        if key in keys:
            return file
    names = ", ".join(file.name for file in lists)
    near = nearest(key, [known for keys in lists.values() for known in keys], NEAR)
    raise UsageError(
        f"{key} is not in any .expected list.",
        f"The lists of {names} in {settings.kustomize.tree} lack it.{_meant(near)}",
        "Name a new key's file, and add the key to its .expected list: --file lookit-secrets.env --new",
    )


def expect(file: SecretFile, key: str) -> None:
    """Accept a key that the list beside the file has, or that the person at the terminal confirms.

    Raises UsageError where it is not in the list, and nobody confirmed it; or no env file can have it.
    """
    _check_key(key)
    wanted = expected_keys(file)
    if wanted is None or key in wanted:
        return
    near = nearest(key, wanted, NEAR)
    what = f"{key} is not in the .expected list of {file.name}."
    if sys.stdin.isatty() and _confirmed(what + _meant(near), f"Set {key} all the same? [y/N]", YES):
        return
    corrected = f"./inv secrets.set {near} --environment {file.environment}\nor, " if near else ""
    anyway = shlex.join(("./inv", "secrets.set", key, "--environment", file.environment, "--file", file.name))
    raise UsageError(what, _meant(near).strip(), f"{corrected}if it is new: {anyway} --new")


def editor_argv(environ: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """The command that opens `path`: $VISUAL, else $EDITOR, which may have arguments; else a UsageError."""
    named = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        chosen = shlex.split(named)
    except ValueError as error:
        why = f"{error}: {named}"
        raise UsageError("The editor's command cannot be read.", why, "export EDITOR=nano") from error
    if not chosen:
        raise UsageError("No editor is chosen.", "Neither VISUAL nor EDITOR is set.", "export EDITOR=nano")
    return (*chosen, *(VIM_WITHOUT_TRACES if _is_vim(chosen[0]) else ()), str(path))


def _is_vim(program: str) -> bool:
    """Whether `program` is Vim by the name that was typed, or by that of what it is a link to."""
    found = Path(shutil.which(program) or program)
    return any(VIM.fullmatch(name) for name in (found.name, found.resolve().name))


def _edited(argv: tuple[str, ...], path: Path) -> Secret:
    """Run the editor, and read what it left."""
    if not shutil.which(argv[0]):
        why = "VISUAL or EDITOR names it, and there is no such program at that path or on PATH."
        raise UsageError(f"The editor {argv[0]} cannot be started.", why, "export EDITOR=nano")
    if code := process.stream(argv):
        failed = process.exit_failure(argv, code, b"")
        raise Failure(failed.what, "The encrypted file is unchanged.", "Run it again.")
    try:
        return Secret(path.read_bytes())
    except OSError as error:
        why = f"{path.name} is gone, or cannot be read: {error.strerror}. The encrypted file is unchanged."
        again = "Run it again, and save under the same name."
        raise Failure("The editor left no file.", why, again) from error


def _wants_to_go_on(failure: Failure) -> bool:
    """Ask whether to open the editor again, so that nobody's typing is lost; without a terminal: no."""
    if not sys.stdin.isatty():
        return False
    return _confirmed(str(failure), "Your text is still there. Open the editor again? [Y/n]", YES | {""})


def _confirmed(about: str, question: str, yes: Iterable[str]) -> bool:
    """Ask a person a question; whether the answer is one of `yes`."""
    for line in (*about.splitlines(), question):
        console.say(line)
    with signals.raised():
        answer = sys.stdin.readline()
    return answer.strip().lower() in yes


def _meant(near: str) -> str:
    return f" Did you mean {near}?" if near else ""


def _check_key(key: str) -> None:
    """Refuse a key that would be read back as something else."""
    if problem := dotenv.problem_of_key(key):
        next_step = "Use letters, digits, - _ and . only: DB_PASSWORD"
        raise UsageError("An env file cannot have this key.", f"{problem}.", next_step)


def _check_value(key: str, value: Secret) -> None:
    """Refuse a value that would be read back as something else."""
    held = value.reveal()
    if b"\n" in held or b"\0" in held:
        raise UsageError(f"An env file cannot have the value of {key}.", "It has a line feed or a NUL byte.")
    if held.endswith(b"\r"):
        raise UsageError(
            f"The value of {key} ends in a carriage return.",
            "kustomize would drop it.",
            "If a Windows program wrote it, leave it out: … | tr -d '\\r' | ./inv secrets.set …",
        )


def _opened(settings: Settings, file: SecretFile) -> Before:
    content = file.encrypted()
    with connected(settings) as kms:
        return Before(content, unseal(kms, file, content).plaintext)


def _save(settings: Settings, file: SecretFile, before: Before, plaintext: Secret) -> None:
    """Encrypt a file in the form it had, unless its text is not valid, and say what is newly doubtful."""
    refuse_errors({file.name: plaintext}, "nothing was encrypted", f"Fix it: {file.command('edit')}")
    refuse_emptied(file, plaintext)
    refuse_unfit(file, plaintext, settings.guard.keys_in_addresses, before.plaintext)
    with connected(as_encrypter(settings)) as kms:
        sealed = seal(kms, file, plaintext, parse(before.content).form)
    overwrite(file, before.content, sealed)
    known = {finding.text for finding in findings_in(file.name, before.plaintext)}
    for finding in findings_in(file.name, plaintext):
        if finding.text not in known:
            console.say(f"{file.name}: {finding}")


def key_and_value(given: str, in_history: bool) -> tuple[str, Secret | None]:
    """The parts of `NAME`, `NAME=-` or `NAME=VALUE`; no value means that it is to be read from stdin.

    Raises UsageError where there is no key, or a value without `in_history`, which accepts it there.
    """
    key, equals, value = given.partition("=")
    if not key:
        raise UsageError("No key was named.", "", "./inv secrets.set NAME --environment staging")
    if not equals or value == "-":
        return key, None
    if not in_history:
        quoted = shlex.quote(key)
        raise UsageError(
            f"The value of {key} is on the command line.",
            "Shell history and process lists keep it.",
            f"Pipe it, or type it at the prompt: ./inv secrets.set {quoted}. To accept that: --in-history",
        )
    return key, Secret(os.fsencode(value))


def refuse_short(key: str, value: Secret, open_keys: Collection[str]) -> None:
    """Refuse a value too short to be masked in logs and messages, but for an empty one and `open_keys`."""
    if 0 < len(value.reveal().decode(errors="replace").strip()) < SHORTEST and key not in open_keys:
        quoted = shlex.quote(key)
        raise UsageError(
            f"The value for {key} is shorter than {SHORTEST} characters, so nothing was changed.",
            "Logs and messages would show it: masking such a short text would hide half of them.",
            f"Choose a longer one. To accept that: ./inv secrets.set {quoted} --short",
        )


def from_stdin(key: str) -> Secret:
    """Read a value: without echo at a terminal, else all of stdin without its last line feed.

    Raises UsageError where it is empty, as when the program before the pipe failed, or what was typed is not
    text.
    """
    with signals.raised():
        value = _typed(key) if sys.stdin.isatty() else Secret(sys.stdin.buffer.read().removesuffix(b"\n"))
    if not len(value):
        raise UsageError(
            f"No value was given for {key}, so nothing was changed.",
            "",
            f"To make it empty on purpose: ./inv secrets.set {shlex.quote(key)}= --in-history",
        )
    return value


def _typed(key: str) -> Secret:
    """What a person types; nothing where they end it with Ctrl-D."""
    try:
        return Secret(getpass.getpass(f"{key}: ").encode())
    except EOFError:
        return Secret(b"")
    except UnicodeError:
        raise UsageError(
            f"The value typed for {key} is not UTF-8 text, so nothing was changed.",
            "",
            "Set the terminal to UTF-8, or pipe the value.",
        ) from None
