"""What must never be committed: plaintext where ciphertext belongs, and secrets anywhere else.

By name and shape, for everyone, without any credentials.  By value, for those who can decrypt: no file may
hold a secret's value, plain or in base64 (as a rendered Secret holds it), nor decrypt to one outside its
place, where no task would look after it.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.lib.redaction import Secret
from tasks.lib.secrets import comparing, expected, formats
from tasks.lib.secrets.files import SUFFIX

# Shorter values ("true", "us-east1") stand in many an innocent file.
SHORTEST_VALUE = 8
# Within JSON there is more that is innocent ("service_account", names of modes and hosts' first parts).
SHORTEST_LEAF = 16
# How Cloud KMS's ciphertexts begin: a field of 36 bytes, which names the key version.
KMS_CIPHERTEXT = b"\x0a\x24"
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


def needles(
    plaintexts: Mapping[str, Secret], harmless: Iterable[str] = (), open_keys: Iterable[str] = ()
) -> list[Needle]:
    """All byte strings that would give away one of the secrets, of JSON also the long texts within.

    Args:
        plaintexts: decrypted files by `environment/name`.
        harmless: values that stand in the open anyway, such as a bucket's name.
        open_keys: keys whose values are no secrets.

    """
    known, in_the_open = {value.encode() for value in harmless}, frozenset(open_keys)
    found: list[Needle] = []
    for place, plaintext in plaintexts.items():
        for key, held in comparing.values(place, plaintext).items():
            texts = () if key in in_the_open else _looked_for(key, held.value.reveal(), in_the_open)
            found += [
                Needle(f"{place}: {held.shown}", Secret(form))
                for text in dict.fromkeys(texts)
                if text not in known
                for form in (text, *_in_base64(text))
            ]
    return found


def _looked_for(key: str, value: bytes, in_the_open: frozenset[str]) -> Iterator[bytes]:
    """A value as it is, and the long texts within one that is JSON, in each form that these may have."""
    whole = value.strip(b'"')
    if len(whole) >= SHORTEST_VALUE:
        yield whole
    try:
        held = json.loads(value)
    except (ValueError, RecursionError):
        return
    for name, text in _texts(key, held):
        if len(text) >= SHORTEST_LEAF and name not in in_the_open:
            for form in (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]):
                yield form.encode(errors="surrogatepass")


def _texts(key: str, held: object) -> Iterator[tuple[str, str]]:
    """Every text within JSON, however deep, with the innermost key over it."""
    left: list[tuple[str, object]] = [(key, held)]
    while left:
        name, one = left.pop()
        if isinstance(one, dict):
            left += one.items()
        elif isinstance(one, list):
            left += ((name, inner) for inner in one)
        elif isinstance(one, str):
            yield name, one


def _by_name(path: str, names: tuple[str, ...]) -> str:
    """A decrypted file under its own name, or what an editor or a copy makes of it."""
    name = PurePosixPath(path).name.lstrip(".#~")
    if name.endswith(ALLOWED) or not name.startswith(names):
        return ""
    return "is a decrypted secret file by its name"


def _by_shape(path: str, content: bytes, places: frozenset[str]) -> str:
    """Plaintext that was saved under a ciphertext's name, ciphertext out of place, or a private key."""
    if path.endswith(SUFFIX) and not content.startswith((KMS_CIPHERTEXT, formats.MAGIC)):
        return "is called .enc, but is no ciphertext"
    if content.startswith(formats.MAGIC) and path not in places:
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
