"""What a ciphertext of the sandbox looks like: the shape of Cloud KMS's own, filled with AES-256-GCM.

Google's ciphertexts are a protocol buffer: field 1 holds 36 bytes that name the key version, field 2 the
sealed text. They begin with the bytes 0a 24 00, and so do these.
"""

import os
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDLE_LENGTH = 36
MAGIC = b"\x0a" + bytes([HANDLE_LENGTH]) + b"\x00"
NONCE_LENGTH, TAG_LENGTH = 12, 16
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
    length = _varint(NONCE_LENGTH + len(plaintext) + TAG_LENGTH)
    header = MAGIC[:2] + handle(version) + b"\x12" + length
    return header + nonce + AESGCM(material).encrypt(nonce, plaintext, header + additional)


def unseal(ciphertext: bytes, material: bytes, additional: bytes) -> bytes:
    """Decrypt what `seal` made; Broken where any bit of it, or of the additional data, has changed."""
    begin = HEADER_LENGTH + 1
    while ciphertext[begin : begin + 1] >= b"\x80":  # all bytes of the length but the last
        begin += 1
    header, sealed = ciphertext[: begin + 1], ciphertext[begin + 1 :]
    try:
        return AESGCM(material).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], header + additional)
    except (InvalidTag, ValueError) as error:
        raise Broken from error


def handle_in(ciphertext: bytes) -> bytes:
    """The key version's handle that a ciphertext carries; Broken where it does not begin as one does."""
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
