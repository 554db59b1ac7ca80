"""What changed in the secrets between a commit and now, by key; values only on request.

For `git diff` each value has a fingerprint.  It is keyed with random bytes that stay in this clone, so that
it tells whether a value changed and nothing about it, not even to someone who guesses.
"""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path

from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.kms.client import Kms, connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets import git
from tasks.lib.secrets.crypt import all_of
from tasks.lib.secrets.dotenv import Pair
from tasks.lib.secrets.envelope import as_it_was, parse, unseal
from tasks.lib.secrets.expected import values
from tasks.lib.secrets.files import SUFFIX, SecretFile, secret_files
from tasks.lib.settings.model import Settings

FINGERPRINT_KEY = "lookit-textconv.key"


class Change(Enum):
    """What happened to a key."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Difference:
    """One key of one file, and its values; None where it is not there."""

    place: str
    before: Pair | None
    now: Pair | None

    @property
    def key(self) -> str:
        """The key as it may be shown."""
        either = self.now or self.before
        return either.shown if either else ""

    @property
    def change(self) -> Change:
        """What happened to it."""
        if self.before is None:
            return Change.ADDED
        if self.now is None:
            return Change.REMOVED
        return Change.UNCHANGED if self.before.value == self.now.value else Change.CHANGED

    def __str__(self) -> str:
        return f"{self.place}  {self.key}  {self.change.value}"

    def revealed(self) -> str:
        """The same line with the values: only for someone who asked to see them."""
        before, now = (
            held.value.decode(errors="replace") if held else "" for held in (self.before, self.now)
        )
        return f"{self}  {before!r} → {now!r}"


def differences(settings: Settings, files: Sequence[SecretFile], revision: str) -> list[Difference]:
    """Compare every file as it was at `revision` with what it is now, in parallel.

    Raises UsageError where git does not know the revision, Failure where a file cannot be decrypted.
    """
    _check_revision(files, revision)
    with connected(settings) as kms:

        def entries(file: SecretFile) -> list[Difference]:
            was = committed(file.ciphertext, revision)
            before = _opened(kms, as_it_was(file, was), was) if was else {}
            now = _opened(kms, file, file.encrypted()) if file.ciphertext.exists() else {}
            return compare(file.bound_to, before, now)

        found = all_of(files, entries, kms.close, "could not be compared")
    return [entry for file in files for entry in found[file]]


def compare(place: str, before: Mapping[str, Pair], now: Mapping[str, Pair]) -> list[Difference]:
    """The differences between two contents of one file, in the order of the older, then of the newer."""
    return [Difference(place, before.get(key), now.get(key)) for key in dict.fromkeys((*before, *now))]


def text_of(settings: Settings, path: Path) -> str:
    """One line for each key of an encrypted file, or of git's copy of an older one, with its fingerprint.

    For someone who cannot decrypt it: why not, and the ciphertext's own fingerprint, since `git diff` would
    end with the first file that fails.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read.", f"{error.strerror}.") from error
    try:
        file = as_it_was(_file_of(settings, path, content), content)
        with connected(settings) as kms:
            plaintext = unseal(kms, file, content).plaintext
        return fingerprints(file.name, plaintext, _clone_key(settings.root))
    except Failure as failure:
        return f"not decrypted: {failure.what}\nsha256 of the ciphertext = {sha256(content).hexdigest()}"


def fingerprints(name: str, plaintext: Secret, key: bytes) -> str:
    """One line for each key of a plaintext."""
    lines = []
    for field, held in values(name, plaintext).items():
        text = b"|".join((name.encode(), field.encode(errors="surrogatepass"), held.value))
        lines.append(f"{held.shown} = {hmac.digest(key, text, 'sha256').hex()[:12]}")
    return "\n".join(lines)


def committed(path: Path, revision: str) -> bytes | None:
    """A file's content at a revision that git knows; None if it was not there."""
    folder = git.folder_of(path)
    relative = str(path.relative_to(folder))
    if not git.output(("git", "ls-tree", "-z", revision, "--", relative), folder):
        return None
    return git.output(("git", "show", f"{revision}:./{relative}"), folder)


def _check_revision(files: Sequence[SecretFile], revision: str) -> None:
    argv = ("git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not files:
        return
    if not git.output(argv, git.folder_of(files[0].ciphertext), success=(0, 1)):
        raise UsageError(
            f"git knows no commit {revision!r} here.",
            "A shallow clone has the newest only: git fetch --unshallow.",
            "./inv secrets.log lists the commits that changed encrypted files.",
        )


def _opened(kms: Kms, file: SecretFile, content: bytes) -> dict[str, Pair]:
    return values(file.name, unseal(kms, file, content).plaintext)


def _file_of(settings: Settings, path: Path, content: bytes) -> SecretFile:
    """Which secret file this is: its header says so; a raw one is known by its name alone."""
    header = parse(content).header
    for environment in settings.environments.values():
        for file in secret_files(settings, environment):
            if header.bound_to == file.bound_to if header else path.name.endswith(file.name + SUFFIX):
                return file
    where = header.bound_to if header else path.name
    raise Failure(f"{where} is not a secret file of the settings.", "", "See environments.….secrets.files.")


def _clone_key(root: Path) -> bytes:
    """The random key of this clone, made at its first use."""
    path = root / git.output(("git", "rev-parse", "--git-path", FINGERPRINT_KEY), root).decode().strip()
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32))
    return path.read_bytes()
