"""Who changed which encrypted file when, from git, and where Cloud KMS keeps who used the key."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.lib import console
from tasks.lib.kms.keys import Key, parse
from tasks.lib.printable import one_line
from tasks.lib.secrets import git
from tasks.lib.secrets.files import SecretFile

# A NUL begins each field: the one character that no commit can hold.
FIELDS = ("%h", "%ad", "%an <%ae>", "%s", "")
FORMAT = "".join(f"%x00{field}" for field in FIELDS)
VERBS = {"A": "added", "M": "changed", "D": "removed"}


@dataclass(frozen=True)
class Entry:
    """One commit that touched encrypted files."""

    commit: str
    date: str
    author: str
    subject: str
    files: tuple[str, ...]


def log_argv(paths: Sequence[str]) -> tuple[str, ...]:
    """The command that lists the commits that touched `paths`, newest first, with what each did to them."""
    return ("git", "log", f"--format={FORMAT}", "--date=iso-strict", "--name-status", "--", *paths)


def log(files: Sequence[SecretFile]) -> list[Entry]:
    """The commits that changed any of `files`, newest first; a Failure outside a git repository."""
    argv = log_argv([str(file.ciphertext) for file in files])
    return parse_log(git.output(argv, git.folder_of(files[0].ciphertext)).decode(errors="replace"))


def parse_log(output: str) -> list[Entry]:
    """Read what `log_argv` prints."""
    fields = iter(output.split("\0")[1:])
    return [
        Entry(commit, date, author, subject, tuple(_changes(changes)))
        for commit, date, author, subject, changes in zip(*[fields] * len(FIELDS), strict=True)
    ]


def audit_hint(keys: Sequence[str]) -> str:
    """Where to look up who used, or changed, each of the keys."""
    named = [parse(key) for key in dict.fromkeys(keys)]
    lines = [f"Who used {key.key}: {_query(key)}" for key in named if key]
    note = (
        "(Encrypt and Decrypt are Data Access logs: they are there only if the project has them turned on.)"
    )
    return "\n".join([*lines, note]) if lines else ""


def _query(key: Key) -> str:
    """The command that reads Cloud Audit Logs about one key, its versions included."""
    of_kms = 'protoPayload.serviceName="cloudkms.googleapis.com"'
    conditions = f'{of_kms} AND protoPayload.resourceName:"{key.full}"'
    read = ("gcloud", "logging", "read", conditions)
    return shlex.join((*read, "--project", key.project, "--freshness", "30d"))


def _changes(text: str) -> list[str]:
    lines = (line.partition("\t") for line in text.splitlines() if line.strip())
    return [f"{path} {VERBS.get(status[0], status)}" for status, _, path in lines]


def show(entries: Sequence[Entry], hint: str) -> None:
    """Print the commits on stdout, and where the key's own log is on stderr."""
    for entry in entries:
        console.emit(one_line(f"{entry.date}  {entry.commit}  {entry.author}  {entry.subject}"))
        for change in entry.files:
            console.emit(f"    {change}")
    console.say(hint)
