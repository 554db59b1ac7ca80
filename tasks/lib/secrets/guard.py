"""What must never be committed: plaintext where ciphertext belongs, and secrets anywhere else.

Two kinds of checks.  By name and shape, for everyone, without any credentials.  By value, for those who
can decrypt: no file may hold a secret's value, plain or in base64 (as a rendered Secret holds it).
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.lib.redaction import Secret
from tasks.lib.secrets import comparing, formats
from tasks.lib.secrets.files import SUFFIX

# Shorter values ("true", "us-east1") stand in many an innocent file.
SHORTEST_VALUE = 8
KMS_CIPHERTEXT = b"\x0a"
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*(?:\\n)?[A-Za-z0-9+/]{40}")


@dataclass(frozen=True)
class Offence:
    """A file that must not be committed, and why."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def offences(
    contents: Mapping[str, bytes], names: Iterable[str], secrets: "Sequence[Needle]"
) -> list[Offence]:
    """What is wrong with files that are about to be committed.

    Args:
        contents: the files by path.
        names: the names of all secret files, such as `lookit-secrets.env`.
        secrets: what to look for, from `needles`; empty for someone who cannot decrypt.

    """
    found = []
    for path, content in contents.items():
        why = _by_name(path, frozenset(names)) or _by_shape(path, content) or _by_value(content, secrets)
        if why:
            found.append(Offence(path, why))
    return found


@dataclass(frozen=True)
class Needle:
    """A byte string that gives a secret away, and whose it is."""

    place: str
    text: Secret


def needles(plaintexts: Mapping[str, Secret], harmless: Iterable[str] = ()) -> list[Needle]:
    """All byte strings that would give away one of the secrets.

    Args:
        plaintexts: decrypted files by `environment/name`.
        harmless: values that stand in the open anyway, such as a bucket's name.

    """
    known = {value.encode() for value in harmless}
    found: list[Needle] = []
    for place, plaintext in plaintexts.items():
        for held in comparing.values(place, plaintext).values():
            value = held.value.reveal().strip(b'"')
            if len(value) >= SHORTEST_VALUE and value not in known:
                found += [
                    Needle(f"{place}: {held.shown}", Secret(text)) for text in (value, *_in_base64(value))
                ]
    return found


def _by_name(path: str, names: frozenset[str]) -> str:
    """A decrypted file under its own name."""
    name = PurePosixPath(path).name
    return "is a decrypted secret file by its name" if name in names else ""


def _by_shape(path: str, content: bytes) -> str:
    """Plaintext that was saved under a ciphertext's name, or a private key."""
    if path.endswith(SUFFIX) and not content.startswith((KMS_CIPHERTEXT, formats.MAGIC)):
        return "is called .enc, but is no ciphertext"
    if PRIVATE_KEY.search(content):
        return "holds a private key"
    return ""


def _by_value(content: bytes, secrets: Sequence[Needle]) -> str:
    for needle in secrets:
        if needle.text.reveal() in content:
            return f"holds the secret value of {needle.place}"
    return ""


def _in_base64(value: bytes) -> list[bytes]:
    """How `value` looks inside a longer text in base64: once for each of the three ways it can be aligned."""
    forms = []
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + value)
        # The first group mixes with what comes before, the last with what follows.
        first = 4 if shift else 0
        last = len(encoded) - (4 if (shift + len(value)) % 3 else 0)
        forms.append(encoded[first:last])
    return [form for form in forms if len(form) >= SHORTEST_VALUE]
