"""What is about to be committed, or is committed already, examined by the guard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms, connected
from tasks.lib.redaction import Public
from tasks.lib.secrets import guard
from tasks.lib.secrets.files import SUFFIX, SecretFile, secret_files
from tasks.lib.secrets.formats import unseal
from tasks.lib.secrets.guard import Needle, Offence
from tasks.lib.secrets.together import for_each

if TYPE_CHECKING:
    from tasks.lib.redaction import Secret
    from tasks.lib.settings.model import Settings

GIT_SECONDS = 60
# --relative: this checkout may lie within a larger one, and ls-files names paths from here too.
STAGED = ("git", "diff", "--cached", "--name-only", "--diff-filter=ACMRT", "--relative", "-z")
TRACKED = ("git", "ls-files", "-z")
INDEX = ("git", "ls-files", "--stage", "-z")


def check(settings: "Settings", listing: Sequence[str]) -> int:
    """Examine the files that `listing` (STAGED or TRACKED) names, as git's index has them.

    Returns:
        How many were examined.

    Raises:
        Failure: at least one must not be committed; all are listed.

    """
    contents = _contents(settings.root, listing)
    files = [file for e in settings.environments.values() for file in secret_files(settings, e)]
    places = {_below(settings.root, path) for file in files for path in _places(file)}
    needles, stray = _by_decrypting(settings, files, guard.strays(contents, places))
    found = [*guard.offences(contents, {file.name for file in files}, places, needles), *stray]
    if found:
        raise Failure(
            f"{_files(len(found))} must not be committed.", "\n".join(f"- {offence}" for offence in found),
            "git rm --cached FILE. A value that was ever pushed is leaked: change it where it is issued, and "
            "set the new one: ./inv secrets.set NAME",
        )  # fmt: skip
    return len(contents)


def said(examined: int, listing: Sequence[str]) -> str:
    """What to say when all was well."""
    about = "about to be committed" if listing == STAGED else "committed or staged"
    return f"No plaintext secret in {_files(examined)} {about}."


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
    wanted = {path for path in _output(listing, root).decode(errors="surrogateescape").split("\0") if path}
    entries = _output(INDEX, root).decode(errors="surrogateescape").split("\0")
    blobs = dict(_entry(entry) for entry in entries if entry)
    blobs = {path: blob for path, blob in blobs.items() if path in wanted}
    answer = _output(("git", "cat-file", "--batch"), root, "".join(f"{b}\n" for b in blobs.values()).encode())
    return _batch(list(blobs), answer)


def _entry(entry: str) -> tuple[str, str]:
    """Path and blob of one entry of the index: `mode blob stage<tab>path`."""
    about, _, path = entry.partition("\t")
    return path, about.split()[1]


def _output(argv: Sequence[str], root: Path, stdin: bytes = b"") -> bytes:
    # To a hook in a worktree git says where the repository is, and takes `root` for the top of it then.
    return process.run(argv, stdin=stdin, time_limit=GIT_SECONDS, cwd=root, env={"GIT_DIR": None}).stdout


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
    settings: "Settings", files: list[SecretFile], strays: Mapping[str, bytes]
) -> tuple[list[Needle], list[Offence]]:
    """What to look for, and which strays decrypt; nothing, said aloud, for someone who cannot decrypt."""
    present = [file for file in files if file.ciphertext.exists()]
    if not present:
        return [], []
    try:
        with connected(settings) as kms:
            known = _known_secrets(settings, kms, present)
            return known, _that_decrypt(kms, present, strays) if known else []
    except Failure as failure:
        console.say(f"{failure.what} So files were checked by name and shape only.")
        return [], []


def _known_secrets(settings: "Settings", kms: Kms, present: list[SecretFile]) -> list[Needle]:
    opened, failures = for_each(
        present, lambda file: unseal(kms, file, file.encrypted()).plaintext, kms.close
    )
    if failures:
        console.say(
            f"{len(failures)} of {len(present)} secrets could not be decrypted and were not looked for."
        )
    plaintexts: dict[str, Secret] = {file.bound_to: plaintext for file, plaintext in opened.items()}
    return guard.needles(plaintexts, _public(settings))


def _that_decrypt(kms: Kms, files: list[SecretFile], strays: Mapping[str, bytes]) -> list[Offence]:
    """The strays that one of our keys opens: copies of an encrypted file, or made like one."""
    keys = {file.key: file for file in files}
    why = "decrypts to a secret, outside the places of encrypted files, where no rotation would reach it"
    return [
        Offence(path, why)
        for path, content in strays.items()
        if any(_opens(kms, file, content) for file in keys.values())
    ]


def _opens(kms: Kms, file: SecretFile, content: bytes) -> bool:
    try:
        unseal(kms, file, content)
    except Failure:
        return False
    return True


def _public(settings: "Settings") -> Public:
    """What may be committed: no more than these settings, since a secret could stand in any other."""
    stated = [settings.kms.project, settings.kms.location]
    for environment in settings.environments.values():
        stated += [environment.project, environment.zone, environment.host, environment.buckets.archives]
    return Public(frozenset(settings.guard.open_keys)).naming(stated)
