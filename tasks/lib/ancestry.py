"""Whether one commit is an ancestor of another, as far as git can tell.

A checkout that settings name is asked alone.  Without one, the application's repository is: its commits are
fetched without files, which takes seconds.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.lib import process
from tasks.lib.build_variables import git
from tasks.lib.errors import Failure
from tasks.lib.workspace import workspace

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

GIT_SECONDS: Final = 20
SECONDS_TO_FETCH: Final = 45


def is_ancestor(settings: "Settings", commit: str, of: str) -> bool:
    """Whether `of` was made after `commit` and upon it.

    Args:
        settings: `settings.source` says which checkout or repository knows the commits.
        commit: the one that may be older, in full.
        of: the one that may be newer.

    Raises:
        Failure: git cannot tell; the message says why.

    """
    if settings.source.checkout:
        return _told_by(settings.root / settings.source.checkout, commit, of)
    with workspace() as folder:
        process.run(
            fetch_argv(settings.source.repository, folder),
            time_limit=SECONDS_TO_FETCH,
            env={"GIT_TERMINAL_PROMPT": "0"},
        )
        return _told_by(folder, commit, of)


def fetch_argv(repository: str, folder: Path) -> tuple[str, ...]:
    """The command that copies all commits of a repository, without their files."""
    return ("git", "clone", "--quiet", "--bare", "--filter=tree:0", "--", repository, str(folder))


def ancestor_argv(folder: Path, commit: str, of: str) -> tuple[str, ...]:
    """The command that prints nothing where `commit` is `of` or an ancestor of it."""
    return (*git(folder), "rev-list", "--max-count=1", commit, f"^{of}", "--")


def shallow_argv(folder: Path) -> tuple[str, ...]:
    """The command that says whether a checkout lacks a part of its history."""
    return (*git(folder), "rev-parse", "--is-shallow-repository")


def _told_by(folder: Path, commit: str, of: str) -> bool:
    found = process.run(ancestor_argv(folder, commit, of), time_limit=GIT_SECONDS)
    if not found.stdout:
        return True
    if process.run(shallow_argv(folder), time_limit=GIT_SECONDS).stdout.strip() == b"true":
        raise Failure("The checkout is shallow: it holds only a part of the history.")
    return False
