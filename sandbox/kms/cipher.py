"""What a ciphertext of the sandbox looks like: the shape of Cloud KMS's own, filled with AES-256-GCM.

Google's ciphertexts are a protocol buffer: field 1 holds 36 bytes that name the key version, field 2 the
sealed text.  They begin with the bytes 0a 24 00, and so do these.
"""

import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDLE_LENGTH = 36
MAGIC = b"\x0a" + bytes([HANDLE_LENGTH]) + b"\x00"
NONCE_LENGTH = 12
HEADER_LENGTH = 2 + HANDLE_LENGTH


class Broken(Exception):  # noqa: N818 - describes the ciphertext
    """The text was not sealed with this key and this additional data, or it was changed since."""


def new_material() -> bytes:
    """A fresh 256-bit key."""
    return AESGCM.generate_key(256)


def handle(version: str) -> bytes:
    """The 36 bytes by which a ciphertext names its key version: a zero, a checksum, no secret."""
    return b"\x00" + sha256(version.encode()).digest() + b"\x00\x00\x00"


def seal(version: str, material: bytes, plaintext: bytes, additional: bytes) -> bytes:
    """Encrypt with one version of a key."""
    nonce = os.urandom(NONCE_LENGTH)
    header = b"\x0a" + bytes([HANDLE_LENGTH]) + handle(version)
    sealed = nonce + AESGCM(material).encrypt(nonce, plaintext, header + additional)
    return header + b"\x12" + _varint(len(sealed)) + sealed


def unseal(ciphertext: bytes, material: bytes, additional: bytes) -> bytes:
    """Decrypt what `seal` made.

    Raises:
        Broken: any bit of it, or of the additional data, is not what it was.

    """
    header, rest = ciphertext[:HEADER_LENGTH], ciphertext[HEADER_LENGTH:]
    length, begin = _length(rest)
    sealed = rest[begin:]
    if len(sealed) != length or length < NONCE_LENGTH:
        raise Broken
    try:
        return AESGCM(material).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], header + additional)
    except InvalidTag as error:
        raise Broken from error


def handle_in(ciphertext: bytes) -> bytes:
    """The key version's handle that a ciphertext carries.

    Raises:
        Broken: it has not the form of one.

    """
    if not ciphertext.startswith(MAGIC) or len(ciphertext) < HEADER_LENGTH:
        raise Broken
    return ciphertext[2:HEADER_LENGTH]


def _varint(value: int) -> bytes:
    """A protocol buffer's variable-length number."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _length(rest: bytes) -> tuple[int, int]:
    """Read field 2's tag and length: the length, and where the field's content begins."""
    if rest[:1] != b"\x12":
        raise Broken
    value = 0
    for position, byte in enumerate(rest[1:6]):
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            if rest[1 : position + 2] != _varint(value):
                raise Broken  # a longer spelling of the same number: not a byte may differ
            return value, position + 2
    raise Broken
