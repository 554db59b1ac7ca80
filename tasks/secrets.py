"""Encrypt, edit, verify, rotate and compare the encrypted secret files."""

import os
from typing import TYPE_CHECKING

from invoke import Collection, Context

from tasks import cli

if TYPE_CHECKING:
    from tasks.lib.secrets.files import SecretFile
    from tasks.lib.settings.model import Settings

HELP = {
    "file": "A secret file, such as lookit-secrets.env.",
    "environment": "The environment: staging or production.",
}
ENVIRONMENTS = "Only this environment's secrets (default: all)."


@cli.task(
    may_follow="file",
    help={
        **HELP,
        "all": "Every file of the environment that has a plaintext.",
        "source": "Where the plaintext is (default: where `decrypt` writes it).",
        "raw": "Write the format of `gcloud kms encrypt`, without header and additional data.",
    },
)
def encrypt(
    c: Context, file: str = "", environment: str = "", all: bool = False, source: str = "", raw: bool = False
) -> None:
    """Encrypt plaintext files; this needs no permission to decrypt."""
    from tasks.lib import console
    from tasks.lib.secrets import plaintexts
    from tasks.lib.secrets.crypt import encrypt_all
    from tasks.lib.secrets.envelope import Form

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    plaintexts.refuse_unclear(file, all, source)
    given = plaintexts.read(settings, chosen, file, source)
    plaintexts.check(settings, chosen, given)
    encrypt_all(settings, chosen, given, Form.RAW if raw else Form.HEADED)
    console.say(f"Encrypted for {environment}: {', '.join(given)}")


@cli.task(positional=["file"], help=HELP)
def edit(c: Context, file: str, environment: str = "") -> None:
    """Edit a secret file in $EDITOR, in memory, and encrypt it if it has changed."""
    from tasks.lib import console
    from tasks.lib.secrets.edit import edit
    from tasks.lib.secrets.files import one_file

    settings = cli.settings(c)
    chosen = one_file(settings, settings.environment(environment), file)
    changed = edit(settings, chosen, os.environ)
    console.say(f"{chosen.shown}: {'re-encrypted' if changed else 'unchanged'}")


@cli.task(
    name="set",
    positional=["name"],
    help={
        **HELP,
        "name": "The key: NAME or NAME=- read the value from stdin; NAME=VALUE needs --in-history.",
        "in-history": "Accept the value on the command line, where history and process lists show it.",
        "short": "Accept a value of under 6 characters, which is not redacted in logs and messages.",
        "new": "Accept a key that is not in the file's .expected list.",
    },
)
def set_(
    c: Context,
    name: str,
    environment: str = "",
    file: str = "",
    in_history: bool = False,
    short: bool = False,
    new: bool = False,
) -> None:
    """Set one value, read from stdin, in an env file."""
    from tasks.lib import console
    from tasks.lib.secrets import edit
    from tasks.lib.secrets.files import one_file, secret_files

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    key, value = edit.key_and_value(name, in_history)
    target = (
        one_file(settings, chosen, file)
        if file
        else edit.file_with(settings, secret_files(settings, chosen), key)
    )
    if not new:
        edit.expect(target, key)
    if value is None:
        value = edit.from_stdin(key)
    if not short:
        edit.refuse_short(key, value, settings.guard.open_keys)
    changed = edit.set_value(settings, target, key, value)
    console.say(f"{target.shown}: {key} {'set' if changed else 'already has that value'}")


@cli.task(
    may_follow="revision",
    help={
        "revision": "The commit to compare with.",
        "environment": ENVIRONMENTS,
        "show": "Print the values too, on stdout.",
    },
)
def diff(c: Context, revision: str = "HEAD", environment: str = "", show: bool = False) -> None:
    """Show which keys changed since a commit, without values."""
    from tasks.lib import console
    from tasks.lib.secrets.diff import differences

    settings = cli.settings(c)
    for entry in differences(settings, _files(settings, environment), revision):
        console.emit(entry.revealed() if show else str(entry))


@cli.task(help={"environment": ENVIRONMENTS, "json": "Print JSON on stdout."})
def verify(c: Context, environment: str = "", json: bool = False) -> None:
    """Check every encrypted file; exits with 1 for broken or unknown ones, 3 for stale ones."""
    from tasks.lib.secrets.verify import conclude, show, verify

    settings = cli.settings(c)
    verdicts = verify(settings, _files(settings, environment))
    show(verdicts, as_json=json)
    conclude(verdicts)


@cli.task(
    help={"environment": ENVIRONMENTS, "new-version": "First create a new primary version of the keys."},
)
def rotate(c: Context, environment: str = "", new_version: bool = False) -> None:
    """Re-encrypt files that an older key version encrypted."""
    from tasks.lib.secrets.files import strays
    from tasks.lib.secrets.rotate import (
        add_versions,
        disposable_versions,
        rotate,
        show_rewritten,
        show_skipped,
    )

    settings = cli.settings(c)
    files = _files(settings, environment)
    keys = list(dict.fromkeys(file.key for file in files))
    if new_version:
        add_versions(settings, keys)
    show_rewritten(rotate(settings, files))
    # Another environment's files may still need the old versions.
    show_skipped(strays(files), [] if environment else disposable_versions(settings, keys))


@cli.task(
    name="exec",
    help={"environment": HELP["environment"]},
)
def exec_(c: Context, environment: str = "") -> None:
    """Run `-- COMMAND` with the env files' secrets in its environment."""
    from tasks.lib.secrets.crypt import decrypt_all
    from tasks.lib.secrets.run import become

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    command = cli.command_after_dashes()
    become(command, decrypt_all(settings, chosen) if command else {}, chosen.name)


@cli.task(
    help={"to": "The new key: its name in the key ring, or its full name.", "environment": ENVIRONMENTS},
)
def rekey(c: Context, to: str, environment: str = "") -> None:
    """Re-encrypt every file with another key, in this project or another."""
    from tasks.lib import console
    from tasks.lib.secrets.rotate import rekey, show_rewritten

    settings = cli.settings(c)
    key = settings.kms.key_name(to)
    show_rewritten(rekey(settings, _files(settings, environment), key))
    console.say(f"Set the new key in invoke.yaml, under environments.….secrets.files: {to}")


@cli.task(may_follow="file", help={**HELP, "environment": ENVIRONMENTS})
def log(c: Context, file: str = "", environment: str = "") -> None:
    """Show who changed which encrypted file and when, and where to find the key's audit log."""
    from tasks.lib.secrets.files import files_called
    from tasks.lib.secrets.log import audit_hint, log, show

    files = files_called(_files(cli.settings(c), environment), file)
    show(log(files), audit_hint([found.key for found in files]))


@cli.task(help={"staged": "Only staged files (for the pre-commit hook)."})
def check(c: Context, staged: bool = False) -> None:
    """Refuse plaintext secrets in committed files: by name, by form and by value."""
    from tasks.lib import console
    from tasks.lib.secrets import leak_check

    listing = leak_check.STAGED if staged else leak_check.TRACKED
    console.say(leak_check.summary(leak_check.check(cli.settings(c), listing), listing))


@cli.task(positional=["file"], help={"file": "The encrypted file, or git's copy of one."})
def textconv(c: Context, file: str) -> None:
    """Print an encrypted file's keys and fingerprints, for `git diff`."""
    from pathlib import Path

    from tasks.lib import console
    from tasks.lib.secrets.diff import text_of

    console.emit(text_of(cli.settings(c), Path(file)))


def _files(settings: "Settings", environment: str) -> "list[SecretFile]":
    """The secret files of one environment, or of all."""
    from tasks.lib.secrets.files import secret_files

    chosen = [settings.environment(environment)] if environment else list(settings.environments.values())
    return [file for found in chosen for file in secret_files(settings, found)]


secrets = Collection("secrets", encrypt, edit, set_, diff, verify, rotate, exec_, rekey, log, check, textconv)
