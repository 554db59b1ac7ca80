"""What git says of the folders in which encrypted files and their plaintexts are."""

from collections.abc import Collection, Sequence
from pathlib import Path

from tasks.lib import process

SECONDS = 60


def output(argv: Sequence[str], folder: Path, stdin: bytes = b"", success: Collection[int] = (0,)) -> bytes:
    """What a git command prints in `folder`; a Failure where it ends with another exit code or too late."""
    # In a hook of a worktree, git sets where the repository is, and then takes `folder` for its top.
    env = {"GIT_DIR": None}
    return process.run(argv, stdin=stdin, time_limit=SECONDS, cwd=folder, env=env, success=success).stdout


def folder_of(path: Path) -> Path:
    """The nearest folder above a file that exists, for git to run in."""
    return next(folder for folder in path.parents if folder.is_dir())
