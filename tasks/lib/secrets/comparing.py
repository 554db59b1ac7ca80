"""What changed in the secrets between a commit and now, by key; values only on request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib import process
from tasks.lib.errors import UsageError
from tasks.lib.kms.client import Kms, connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets import dotenv, jsonfile
from tasks.lib.secrets.files import SecretFile
from tasks.lib.secrets.formats import as_it_was, unseal
from tasks.lib.secrets.together import for_each, one_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.lib.settings.model import Settings

GIT_SECONDS = 20
WHOLE = "(the whole file)"


class Change(Enum):
    """What happened to a key."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Held:
    """The value of a key, and how messages may show the key."""

    shown: str
    value: Secret


@dataclass(frozen=True)
class Difference:
    """One key as it may be shown, what happened to it, and its values; None where it was or is not there."""

    place: str
    key: str
    change: Change
    before: Secret | None
    now: Secret | None


def differences(settings: "Settings", files: "Sequence[SecretFile]", revision: str) -> list[Difference]:
    """Compare every file as it was at `revision` with what it is now, in parallel.

    Raises:
        UsageError: git does not know the revision.
        Failure: a file cannot be decrypted.

    """
    _check_revision(files, revision)
    with connected(settings) as kms:

        def entries(file: SecretFile) -> list[Difference]:
            was = committed(file.ciphertext, revision)
            before = _opened(kms, as_it_was(file, was), was) if was else {}
            now = _opened(kms, file, file.encrypted()) if file.ciphertext.exists() else {}
            return compare(file.bound_to, before, now)

        found, failures = for_each(files, entries, kms.close)
    if failures:
        raise one_error("could not be compared", len(files), failures)
    return [entry for file in files for entry in found[file]]


def compare(place: str, before: Mapping[str, Held], now: Mapping[str, Held]) -> list[Difference]:
    """The differences between two states of one file, in the order of the older, then of the newer."""
    return [_difference(place, before.get(key), now.get(key)) for key in dict.fromkeys((*before, *now))]


def values(name: str, plaintext: Secret) -> dict[str, Held]:
    """A secret file's values by key; a file that has no keys has one value, all of it."""
    content = plaintext.reveal()
    if name.endswith(".env"):
        return {pair.key: Held(pair.shown, Secret(pair.value)) for pair in dotenv.parse(content).pairs}
    if name.endswith(".json") and (members := jsonfile.parse(content).members):
        shown = {member.key: member.shown for member in members}
        held = json.loads(content)
        return {key: Held(shown[key], Secret(_as_json(value))) for key, value in held.items()}
    return {WHOLE: Held(WHOLE, plaintext)}


def _as_json(value: object) -> bytes:
    """A value as it stands in the file; half of a surrogate pair, which JSON lets pass, is carried along."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def shown(entry: Difference) -> str:
    """A line with the values: only for someone who asked to see them."""
    text = [
        "" if value is None else value.reveal().decode(errors="replace")
        for value in (entry.before, entry.now)
    ]
    return f"{entry.place}  {entry.key}  {entry.change.value}  {text[0]!r} → {text[1]!r}"


def committed(path: Path, revision: str) -> bytes | None:
    """A file's content at a revision; None if it was not there.

    Raises:
        Failure: git does not know the revision.

    """
    folder = _folder(path)
    relative = str(path.relative_to(folder))
    listing = process.run(
        ("git", "ls-tree", "-z", revision, "--", relative), time_limit=GIT_SECONDS, cwd=folder
    )
    if not listing.stdout:
        return None
    return process.run(("git", "show", f"{revision}:./{relative}"), time_limit=GIT_SECONDS, cwd=folder).stdout


def _folder(path: Path) -> Path:
    """The folder nearest to a file that there is, for git to run in."""
    return next(folder for folder in path.parents if folder.is_dir())


def _check_revision(files: "Sequence[SecretFile]", revision: str) -> None:
    argv = ("git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not files:
        return
    folder = _folder(files[0].ciphertext)
    if not process.run(argv, time_limit=GIT_SECONDS, cwd=folder, success=(0, 1)).stdout:
        raise UsageError(
            f"git knows no commit {revision!r} here.",
            "A shallow clone has the newest only: git fetch --unshallow.",
            "./inv secrets.log lists the commits that changed encrypted files.",
        )  # fmt: skip


def _opened(kms: Kms, file: SecretFile, content: bytes) -> dict[str, Held]:
    return values(file.name, unseal(kms, file, content).plaintext)


def _difference(place: str, before: Held | None, now: Held | None) -> Difference:
    either = now or before
    key = either.shown if either else ""
    values = [held.value if held else None for held in (before, now)]
    return Difference(place, key, _change(before, now), *values)


def _change(before: Held | None, now: Held | None) -> Change:
    if before is None:
        return Change.ADDED
    if now is None:
        return Change.REMOVED
    return Change.UNCHANGED if before.value == now.value else Change.CHANGED
