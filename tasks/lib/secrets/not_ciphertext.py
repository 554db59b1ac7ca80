"""What may be in an encrypted file's place without being one, and what to do about it."""

import base64
import binascii
import shlex
from enum import Enum

from tasks.lib.errors import Failure
from tasks.lib.secrets import dotenv, git, jsonfile
from tasks.lib.secrets.files import KMS_CIPHERTEXT, MAGIC, SUFFIX, SecretFile

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
CONTROL = frozenset(map(chr, range(32))) - set("\t\n\r")


class Kind(Enum):
    """What it is; the value says it of a file."""

    POINTER = "is a Git LFS pointer, not the encrypted file"
    BASE64 = "is a ciphertext in base64, which has to be decoded"
    PLAINTEXT = "holds plaintext, not ciphertext"
    TEXT = "holds text, not ciphertext"


def kind_of(name: str, content: bytes) -> Kind | None:
    """What the content of an encrypted file is; None for a ciphertext, even an incomplete one."""
    if any(start.startswith(content[: len(start)]) for start in (KMS_CIPHERTEXT, MAGIC)):
        return None
    if content.startswith(LFS_POINTER):
        return Kind.POINTER
    if _from_base64(content).startswith((KMS_CIPHERTEXT, MAGIC)):
        return Kind.BASE64
    if not _is_text(content):
        return None
    return Kind.PLAINTEXT if _has_keys(name.removesuffix(SUFFIX), content) else Kind.TEXT


def refuse(file: SecretFile, content: bytes) -> None:
    """Refuse a file that cannot be a ciphertext, with a better reason than Cloud KMS would give."""
    if kind := kind_of(file.name, content):
        why, next_step = _advice(kind, file, content)
        raise Failure(f"{file.shown} {kind.value}.", why, next_step)


def _advice(kind: Kind, file: SecretFile, content: bytes) -> tuple[str, str]:
    """Why a file is what it is, and what to do."""
    path = shlex.quote(file.shown)
    if kind is Kind.POINTER:
        return "Git LFS keeps its content elsewhere.", f"git lfs pull --include {path}"
    if kind is Kind.BASE64:
        why = "Cloud KMS's REST API writes base64; gcloud and these tasks read the bytes themselves."
        return why, f"base64 --decode {path} > {path}.decoded && mv {path}.decoded {path}"
    from_file = file.command("encrypt", "--source", "FILE")
    if kind is Kind.TEXT:
        return "", f"Restore the last good one (git checkout -- {path}), or encrypt it again: {from_file}"
    if commit := _commit_with(file, content):
        why = f"Commit {commit} has it: its values are leaked to all who can read the repository."
        return why, f"Change every value where it is issued, then: {from_file}"
    encrypt = file.command("encrypt", "--source", file.shown)
    return "No commit here has it.", f"Encrypt it before you commit it: {encrypt}"


def _commit_with(file: SecretFile, content: bytes) -> str:
    """A commit in which the file has exactly this content; empty where there is none, or no git."""
    folder = file.ciphertext.parent
    try:
        name = git.output(("git", "hash-object", "--stdin"), folder, content).decode().strip()
        wanted = (f"--find-object={name}", "--", file.ciphertext.name)
        return (
            git.output(("git", "log", "--all", "--max-count=1", "--format=%h", *wanted), folder)
            .decode()
            .strip()
        )
    except Failure:
        return ""


def _from_base64(content: bytes) -> bytes:
    """The decoded content, whether on one line or several; nothing for what is not base64."""
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return b""


def _is_text(content: bytes) -> bool:
    try:
        return CONTROL.isdisjoint(content.decode())
    except UnicodeDecodeError:
        return False


def _has_keys(name: str, content: bytes) -> bool:
    """Whether it reads as the plaintext of a file of this name."""
    if name.endswith(".json"):
        return bool(jsonfile.parse(content).pairs)
    return any(pair.has_equals for pair in dotenv.parse(content).pairs)
