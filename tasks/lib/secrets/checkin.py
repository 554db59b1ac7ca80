"""What is about to be committed, or is committed already, examined by the guard."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.lib import console, process
from tasks.lib.errors import Failure
from tasks.lib.kms.client import connected
from tasks.lib.secrets.files import secret_files
from tasks.lib.secrets.formats import unseal
from tasks.lib.secrets.guard import Needle, needles, offences
from tasks.lib.secrets.together import for_each

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.lib.redaction import Secret
    from tasks.lib.settings.model import Settings

GIT_SECONDS = 60
STAGED = ("git", "diff", "--cached", "--name-only", "--diff-filter=ACMR", "-z")
TRACKED = ("git", "ls-files", "-z")
LARGEST_FILE = 5_000_000


def check(settings: "Settings", listing: Sequence[str]) -> int:
    """Examine the files that `listing` (STAGED or TRACKED) names, as git's index has them.

    Returns:
        How many were examined.

    Raises:
        Failure: at least one must not be committed; all are listed.

    """
    contents = _contents(settings.root, listing)
    names = {name for environment in settings.environments.values() for name in environment.secrets.files}
    found = offences(contents, names, _known_secrets(settings))
    if found:
        raise Failure(
            f"{len(found)} files must not be committed.", "\n".join(f"- {offence}" for offence in found),
            "git rm --cached FILE; a value that was ever pushed counts as known: change it where it is used.",
        )  # fmt: skip
    return len(contents)


def _contents(root: "Path", listing: Sequence[str]) -> dict[str, bytes]:
    """The files of git's index by path: what a commit takes is the index, not the folder."""
    listed = process.run(listing, time_limit=GIT_SECONDS, cwd=root).stdout.decode().split("\0")
    paths = [path for path in listed if path]
    asked = "".join(f":{path}\n" for path in paths).encode()
    answer = process.run(("git", "cat-file", "--batch"), stdin=asked, time_limit=GIT_SECONDS, cwd=root).stdout
    return _batch(paths, answer)


def _batch(paths: Sequence[str], answer: bytes) -> dict[str, bytes]:
    """Read what `git cat-file --batch` prints: for each object a line with its size, then its bytes."""
    contents = {}
    for path in paths:
        head, _, answer = answer.partition(b"\n")
        if not head.rsplit(b" ", 1)[-1].isdigit():
            continue  # a submodule has no bytes of its own
        size = int(head.rsplit(b" ", 1)[-1])
        if size <= LARGEST_FILE:
            contents[path] = answer[:size]
        answer = answer[size + 1 :]
    return contents


def _known_secrets(settings: "Settings") -> list[Needle]:
    """What to look for; nothing, said aloud, for someone who cannot decrypt."""
    files = [file for e in settings.environments.values() for file in secret_files(settings, e)]
    present = [file for file in files if file.ciphertext.exists()]
    if not present:
        return []
    try:
        with connected(settings) as kms:
            opened, failures = for_each(
                present, lambda file: unseal(kms, file, file.encrypted()).plaintext, kms.close
            )
    except Failure as failure:
        console.say(f"{failure.what} So files were checked by name and shape only.")
        return []
    if failures:
        console.say(
            f"{len(failures)} of {len(present)} secrets could not be decrypted and were not looked for."
        )
    plaintexts: dict[str, Secret] = {file.bound_to: plaintext for file, plaintext in opened.items()}
    return needles(plaintexts, _in_the_open(settings))


def _in_the_open(settings: "Settings") -> list[str]:
    """Values that the settings state anyway."""
    stated = [settings.kms.project, settings.kms.location]
    for environment in settings.environments.values():
        stated += [environment.project, environment.zone, environment.host, environment.buckets.archives]
    return stated
