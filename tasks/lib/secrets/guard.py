"""What must never be committed: plaintext where ciphertext belongs, and secrets anywhere else.

By name and shape, for everyone, without any credentials.  By value, for those who can decrypt: no file may
hold a secret's value, plain or in base64 (as a rendered Secret holds it), nor decrypt to one outside its
place, where no task would look after it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.lib.redaction import Public, Secret, as_bytes
from tasks.lib.secrets import expected, imposters, sensitive
from tasks.lib.secrets.files import KMS_CIPHERTEXT, MAGIC, SUFFIX
from tasks.lib.spellings import base64_bodies

# Shorter values ("true", "1234567") stand in many an innocent file.
SHORTEST = 8
ALLOWED = (SUFFIX, expected.SUFFIX)
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*(?:\\n)?[A-Za-z0-9+/]{40}")


@dataclass(frozen=True)
class Offence:
    """A file that must not be committed, and why."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def offences(
    contents: Mapping[str, bytes], names: Iterable[str], places: Iterable[str], secrets: "Sequence[Needle]"
) -> list[Offence]:
    """What is wrong with files that are about to be committed.

    Args:
        contents: the files by path.
        names: the names of all secret files, such as `lookit-secrets.env`.
        places: the paths of all encrypted files.
        secrets: what to look for, from `needles`; empty for someone who cannot decrypt.

    """
    named, placed = tuple(names), frozenset(places)
    found = []
    for path, content in contents.items():
        why = _by_name(path, named) or _by_shape(path, content, placed) or _by_value(content, secrets)
        if why:
            found.append(Offence(path, why))
    return found


def strays(contents: Mapping[str, bytes], places: Iterable[str]) -> dict[str, bytes]:
    """Files that look like a raw ciphertext of KMS and lie where no encrypted file belongs."""
    placed = frozenset(places)
    return {
        path: content
        for path, content in contents.items()
        if path not in placed and content.startswith(KMS_CIPHERTEXT)
    }


@dataclass(frozen=True)
class Needle:
    """A byte string that gives a secret away, and whose it is."""

    place: str
    text: Secret


def needles(plaintexts: Mapping[str, Secret], known: Public) -> list[Needle]:
    """All byte strings that would give away one of the secrets.

    Args:
        plaintexts: decrypted files by `environment/name`.
        known: what is public.

    """
    found = [
        Needle(f"{place}: {shown}", Secret(form))
        for place, plaintext in plaintexts.items()
        for shown, text in sensitive.in_file(place, plaintext, known)
        for form in _forms(text)
    ]
    return list(dict.fromkeys(found))


def _forms(text: str) -> list[bytes]:
    """A text as files may hold it; nothing of one that is so short that innocent files hold it too."""
    in_json = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    forms = [as_bytes(form) for form in (text, *in_json)]
    forms += [body.encode() for body in base64_bodies(forms[0])]
    return [form for form in forms if len(forms[0]) >= SHORTEST and len(form) >= SHORTEST]


def _by_name(path: str, names: tuple[str, ...]) -> str:
    """A decrypted file under its own name, or what an editor or a copy makes of it."""
    name = PurePosixPath(path).name.lstrip(".#~")
    if name.endswith(ALLOWED) or not name.startswith(names):
        return ""
    return "is a decrypted secret file by its name"


def _by_shape(path: str, content: bytes, places: frozenset[str]) -> str:
    """Plaintext that was saved under a ciphertext's name, ciphertext out of place, or a private key."""
    if path.endswith(SUFFIX) and not content.startswith((KMS_CIPHERTEXT, MAGIC)):
        kind = imposters.kind_of(path, content)
        return kind.value if kind else "is called .enc, but is no ciphertext"
    if content.startswith(MAGIC) and path not in places:
        return "is an encrypted secret file outside its place, where no rotation would reach it"
    if PRIVATE_KEY.search(content):
        return "holds a private key"
    return ""


def _by_value(content: bytes, secrets: Sequence[Needle]) -> str:
    """A secret's value; base64 may be broken over lines."""
    in_one_line = b"".join(content.split())
    for needle in secrets:
        if needle.text.reveal() in content or needle.text.reveal() in in_one_line:
            return f"holds the secret value of {needle.place}"
    return ""
