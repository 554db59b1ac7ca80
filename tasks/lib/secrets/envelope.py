"""What an encrypted file looks like: the raw ciphertext of the shell version, or ours with a header.

Raw is what `gcloud kms encrypt` writes: nothing but KMS's ciphertext, bound to nothing.  Ours begins with
a header that anyone can read:

    lookit-secret/1
    key: projects/…/cryptoKeys/kubernetes-secrets
    bound-to: staging/lookit-secrets.env
    data-key: …                (base64; only in an envelope)
    <empty line>
    <ciphertext>

`bound-to` is the additional authenticated data, so that a file copied to another environment or another
name does not decrypt.  A plaintext over KMS's 64 KiB goes into an envelope: AES-256-GCM with a new data
key, which KMS encrypts instead, and with the whole header as additional data; its ciphertext begins
with the nonce, 12 bytes.  Every byte of the header is checked on reading: a header that is not exactly what
we would have written is damaged.  What is in an encrypted file's place without being one, such as plaintext
or a Git LFS pointer, is refused with a better reason than Cloud KMS would give.
"""

import base64
import binascii
import os
import shlex
from dataclasses import dataclass, replace
from enum import Enum

from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms, Opened
from tasks.lib.kms.keys import short
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv, git, jsonfile
from tasks.lib.secrets.files import KMS_CIPHERTEXT, MAGIC, SUFFIX, SecretFile

FIRST_LINE = b"lookit-secret/1"
LARGEST_FOR_KMS = 64 * 1024
# What encrypting adds to the largest plaintext, rounded up.
LARGEST_RAW = LARGEST_FOR_KMS + 1024
NONCE_LENGTH = 12
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
CONTROL = frozenset(map(chr, range(32))) - set("\t\n\r")


class Form(Enum):
    """The two forms of an encrypted file."""

    RAW = "raw"
    HEADED = "headed"


@dataclass(frozen=True)
class Header:
    """What comes before the ciphertext; `data_key` is the encrypted data key of an envelope, or empty."""

    key: str
    bound_to: str
    data_key: bytes = b""

    def encoded(self) -> bytes:
        """The header's bytes, the empty line included."""
        lines = [FIRST_LINE, b"key: " + self.key.encode(), b"bound-to: " + self.bound_to.encode()]
        lines += [b"data-key: " + base64.b64encode(self.data_key)] if self.data_key else []
        return b"\n".join(lines) + b"\n\n"


@dataclass(frozen=True)
class Encrypted:
    """An encrypted file in its parts; `header` is None for the raw form."""

    header: Header | None
    body: bytes

    @property
    def form(self) -> Form:
        """Which form it has."""
        return Form.HEADED if self.header else Form.RAW


def parse(content: bytes) -> Encrypted:
    """The parts of an encrypted file; a Failure where the header is not one that this version writes."""
    if not content.startswith(MAGIC):
        return Encrypted(None, content)
    head, gap, body = content.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    if first != FIRST_LINE and first.removeprefix(MAGIC).isdigit():
        raise Failure(
            "The encrypted file has a newer form than this version knows.",
            f"It begins with {first.decode()}.",
            "Update this checkout: git pull",
        )
    header = _header(lines)
    if header is None or not gap or header.encoded() != head + gap or not body:
        raise _damaged("Its header is not as it was written.")
    return Encrypted(header, body)


def seal(kms: Kms, file: SecretFile, plaintext: Secret, form: Form = Form.HEADED) -> bytes:
    """Encrypt for one file, whose environment, name and key go into the header.

    Raises Failure where KMS refuses, or the plaintext is too large for the raw form.
    """
    is_large = len(plaintext) > LARGEST_FOR_KMS
    if form is Form.RAW and is_large:
        headed = file.command("encrypt", "--source", "FILE")
        raise Failure(
            "A file over 64 KiB has no raw form.",
            f"{file.name} has {len(plaintext)} bytes.",
            f"Encrypt it without --raw, which gives it a header: {headed}",
        )
    if form is Form.RAW:
        return kms.encrypt(file.key, plaintext)
    if is_large:
        return _seal_envelope(kms, file, plaintext)
    ciphertext = kms.encrypt(file.key, plaintext, file.bound_to.encode())
    return Header(file.key, file.bound_to).encoded() + ciphertext


def unseal(kms: Kms, file: SecretFile, content: bytes) -> Opened:
    """Decrypt one file, of either form.

    Raises Failure where it was made for another environment, file or key; a bit of it is not as it was
    written; it is not a ciphertext at all; or KMS refuses or cannot be reached.
    """
    encrypted = parse(content)
    header = encrypted.header
    if header is None:
        refuse_other(file, content)
        if len(encrypted.body) > LARGEST_RAW:
            raise _damaged("It has no header of ours, and is too long for a ciphertext of KMS.")
        return kms.decrypt(file.key, encrypted.body)
    _check_place(file, header)
    if not header.data_key:
        return kms.decrypt(file.key, encrypted.body, header.bound_to.encode())
    data_key = kms.decrypt(file.key, header.data_key, header.bound_to.encode())
    return Opened(_open_envelope(data_key.plaintext, header, encrypted.body), data_key.used_primary)


def as_it_was(file: SecretFile, content: bytes) -> SecretFile:
    """The file for an older content of it: with the key that its header names, which may have changed."""
    header = parse(content).header
    return replace(file, key=header.key) if header else file


def _seal_envelope(kms: Kms, file: SecretFile, plaintext: Secret) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data_key = Secret(AESGCM.generate_key(256))
    wrapped = kms.encrypt(file.key, data_key, file.bound_to.encode())
    header = Header(file.key, file.bound_to, wrapped).encoded()
    nonce = os.urandom(NONCE_LENGTH)
    return header + nonce + AESGCM(data_key.reveal()).encrypt(nonce, plaintext.reveal(), header)


def _open_envelope(data_key: Secret, header: Header, body: bytes) -> Secret:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, sealed = body[:NONCE_LENGTH], body[NONCE_LENGTH:]
    try:
        return Secret(AESGCM(data_key.reveal()).decrypt(nonce, sealed, header.encoded()))
    except (InvalidTag, ValueError) as error:
        raise _damaged("Its content does not match the seal.") from error


def _check_place(file: SecretFile, header: Header) -> None:
    """Refuse a file that was made for another place, with a better reason than KMS would give."""
    if header.bound_to != file.bound_to:
        raise Failure(
            f"The encrypted file belongs to {header.bound_to}, not to {file.bound_to}.",
            f"{file.shown} was copied or renamed; a file decrypts only in the place it was made for.",
            f"Restore its own: git checkout -- {shlex.quote(file.shown)}",
        )
    if header.key != file.key:
        raise Failure(
            f"It was encrypted with another key than {short(file.key)}.",
            f"The file names {header.key}, the settings {file.key}.",
            "Fix kms.* or environments.….secrets.files in invoke.yaml, or run ./inv secrets.rekey.",
        )


def _header(lines: list[bytes]) -> Header | None:
    """The header in `lines`, as far as they can be read."""
    fields = dict(line.partition(b": ")[::2] for line in lines)
    try:
        key, bound_to = fields[b"key"].decode(), fields[b"bound-to"].decode()
        return Header(key, bound_to, base64.b64decode(fields.get(b"data-key", b""), validate=True))
    except (KeyError, UnicodeDecodeError, binascii.Error):
        return None


def _damaged(why: str) -> Failure:
    return Failure(
        "The encrypted file is damaged.",
        why,
        "Restore the last good one (git checkout -- FILE), or have the key's owner encrypt it again.",
    )


class Kind(Enum):
    """What may be in an encrypted file's place; the value says it of a file."""

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


def refuse_other(file: SecretFile, content: bytes) -> None:
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
