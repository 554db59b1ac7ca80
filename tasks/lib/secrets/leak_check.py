"""What must never be committed: plaintext where ciphertext belongs, and secrets anywhere else.

By name and shape, for everyone, without any credentials.  By value, for those who can decrypt: no file may
hold a secret's value, plain or in base64 (as a rendered Secret holds it), nor decrypt to one outside its
place, where no task would look after it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.lib import console
from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms, connected
from tasks.lib.redaction import Public, Secret, as_bytes
from tasks.lib.secrets import envelope, expected, git, sensitive
from tasks.lib.secrets.crypt import for_each, open_file
from tasks.lib.secrets.envelope import unseal
from tasks.lib.secrets.files import KMS_CIPHERTEXT, MAGIC, SUFFIX, SecretFile, secret_files
from tasks.lib.settings.model import Settings
from tasks.lib.spellings import base64_bodies

# Shorter values ("true", "1234567") are in many an innocent file.
SHORTEST = 8
ALLOWED = (SUFFIX, expected.SUFFIX)
PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*(?:\\n)?[A-Za-z0-9+/]{40}")
# --relative: this checkout may be within a larger one, and ls-files names paths from here too.
STAGED = ("git", "diff", "--cached", "--name-only", "--diff-filter=ACMRT", "--relative", "-z")
TRACKED = ("git", "ls-files", "-z")
INDEX = ("git", "ls-files", "--stage", "-z")
BATCH = ("git", "cat-file", "--batch")


@dataclass(frozen=True)
class Leak:
    """A file that must not be committed, and why."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class Needle:
    """A byte string that gives a secret away, and whose it is."""

    place: str
    text: Secret


def check(settings: Settings, listing: Sequence[str]) -> int:
    """Examine the files that `listing` (STAGED or TRACKED) names, as git's index has them; how many they are.

    Raises Failure where at least one must not be committed; all are listed.
    """
    contents = _contents(settings.root, listing)
    files = [file for e in settings.environments.values() for file in secret_files(settings, e)]
    places = {_below(settings.root, path) for file in files for path in _places(file)}
    needles, decrypted = _by_decrypting(settings, files, strays(contents, places))
    found = [*leaks(contents, {file.name for file in files}, places, needles), *decrypted]
    if found:
        raise Failure(
            f"{_files(len(found))} must not be committed.",
            "\n".join(f"- {leak}" for leak in found),
            "git rm --cached FILE. A value that was ever pushed is leaked: change it where it is issued, and "
            "set the new one: ./inv secrets.set NAME",
        )
    return len(contents)


def summary(examined: int, listing: Sequence[str]) -> str:
    """What to say when nothing was found."""
    about = "about to be committed" if listing == STAGED else "committed or staged"
    return f"No plaintext secret in {_files(examined)} {about}."


def leaks(
    contents: Mapping[str, bytes], names: Iterable[str], places: Iterable[str], needles: Sequence[Needle]
) -> list[Leak]:
    """What is wrong with files, by path, that are about to be committed.

    `names` are those of all secret files, `places` the paths of all encrypted ones; without `needles`, for
    someone who cannot decrypt, values are not looked for.
    """
    named, placed = tuple(names), frozenset(places)
    found = (
        (path, _by_name(path, named) or _by_shape(path, content, placed) or _by_value(content, needles))
        for path, content in contents.items()
    )
    return [Leak(path, why) for path, why in found if why]


def strays(contents: Mapping[str, bytes], places: Iterable[str]) -> dict[str, bytes]:
    """Files that look like a raw ciphertext of KMS and are where no encrypted file belongs."""
    placed = frozenset(places)
    return {
        path: content
        for path, content in contents.items()
        if path not in placed and content.startswith(KMS_CIPHERTEXT)
    }


def needles(plaintexts: Mapping[str, Secret], known: Public) -> list[Needle]:
    """All byte strings that would give away a value of plaintexts, by `environment/name`."""
    found = [
        Needle(f"{place}: {shown}", Secret(form))
        for place, plaintext in plaintexts.items()
        for shown, text in sensitive.in_file(place, plaintext, known)
        for form in _forms(text)
    ]
    return list(dict.fromkeys(found))


def public(settings: Settings) -> Public:
    """What may be committed: no more than these settings, since a secret could be in any other."""
    stated = [settings.kms.project, settings.kms.location]
    for environment in settings.environments.values():
        stated += [environment.project, environment.zone, environment.host, environment.buckets.archives]
    return Public(frozenset(settings.guard.open_keys)).naming(stated)


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
        kind = envelope.kind_of(path, content)
        return kind.value if kind else "is called .enc, but is not a ciphertext"
    if content.startswith(MAGIC) and path not in places:
        return "is an encrypted secret file outside its place, where no rotation would reach it"
    return "holds a private key" if PRIVATE_KEY.search(content) else ""


def _by_value(content: bytes, needles: Sequence[Needle]) -> str:
    """A secret's value; base64 may be broken over lines."""
    in_one_line = b"".join(content.split())
    for needle in needles:
        if needle.text.reveal() in content or needle.text.reveal() in in_one_line:
            return f"holds the secret value of {needle.place}"
    return ""


def _files(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"


def _places(file: SecretFile) -> tuple[Path, Path]:
    """Where the encrypted file belongs: also beside the plaintext, whatever else the sandbox reads."""
    return file.ciphertext, file.plaintext.with_name(file.name + SUFFIX)


def _below(root: Path, path: Path) -> str:
    """A path as git's index has it."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _contents(root: Path, listing: Sequence[str]) -> dict[str, bytes]:
    """The files of git's index by path: what a commit takes is the index, not the folder."""
    wanted = set(_listed(listing, root))
    entries = (entry.partition("\t") for entry in _listed(INDEX, root))  # mode, blob and stage, then the path
    blobs = {path: about.split()[1] for about, _, path in entries if path in wanted}
    answer = git.output(BATCH, root, "".join(f"{blob}\n" for blob in blobs.values()).encode())
    return _batch(list(blobs), answer)


def _listed(argv: Sequence[str], root: Path) -> list[str]:
    """What a command prints, each ended by a NUL."""
    return [one for one in git.output(argv, root).decode(errors="surrogateescape").split("\0") if one]


def _batch(paths: Sequence[str], answer: bytes) -> dict[str, bytes]:
    """Read what `git cat-file --batch` prints: for each object a line with its size, then its bytes."""
    contents = {}
    position = 0
    for path in paths:
        end = answer.index(b"\n", position)
        size = answer[position:end].rsplit(b" ", 1)[-1]
        position = end + 1
        if size.isdigit():  # a submodule has no bytes of its own
            contents[path] = answer[position : position + int(size)]
            position += int(size) + 1
    return contents


def _by_decrypting(
    settings: Settings, files: list[SecretFile], strays: Mapping[str, bytes]
) -> tuple[list[Needle], list[Leak]]:
    """What to look for, and which strays decrypt; nothing, with a message, for someone who cannot decrypt."""
    present = [file for file in files if file.ciphertext.exists()]
    if not present:
        return [], []
    try:
        with connected(settings) as kms:
            known = needles(_plaintexts(kms, present), public(settings))
            return known, _that_decrypt(kms, present, strays) if known else []
    except Failure as failure:
        console.say(f"{failure.what} So files were checked by name and shape only.")
        return [], []


def _plaintexts(kms: Kms, present: list[SecretFile]) -> dict[str, Secret]:
    """The plaintexts of the files that decrypt, by `environment/name`."""
    opened, failures = for_each(present, lambda file: open_file(kms, file), kms.close)
    if failures:
        counted = f"{len(failures)} of {len(present)} secrets"
        console.say(f"{counted} could not be decrypted and were not looked for.")
    return {file.bound_to: found.plaintext for file, found in opened.items()}


def _that_decrypt(kms: Kms, files: list[SecretFile], strays: Mapping[str, bytes]) -> list[Leak]:
    """The strays that one of our keys opens: copies of an encrypted file, or made like one."""
    keys = {file.key: file for file in files}
    why = "decrypts to a secret, outside the places of encrypted files, where no rotation would reach it"
    return [
        Leak(path, why)
        for path, content in strays.items()
        if any(_opens(kms, file, content) for file in keys.values())
    ]


def _opens(kms: Kms, file: SecretFile, content: bytes) -> bool:
    try:
        unseal(kms, file, content)
    except Failure:
        return False
    return True
