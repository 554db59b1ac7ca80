"""The checkout's commit as a folder of its own, which becomes /workspace."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.lib import console, process
from tasks.lib.errors import UsageError
from tasks.lib.image import checkout

CLONE = ("git", "-c", "safe.directory=*", "clone", "--quiet", "--no-hardlinks")
CLONE_SECONDS = 120


@contextmanager
def workspace_of(source: Path) -> Iterator[Path]:
    """A copy of the checkout at its commit, as Cloud Build makes one: what is not committed is not in it."""
    found = checkout.observe(source)
    with tempfile.TemporaryDirectory(prefix="lookit-pipeline-") as folder:
        workspace = Path(folder) / "workspace"
        if not found.head:
            raise UsageError(
                f"{source} is no git checkout.", "Cloud Build clones one, so the pipeline needs one too.",
                "Name a checkout of the application with --source, or source.checkout in invoke.yaml.",
            )  # fmt: skip
        process.run(clone_argv(source, workspace), time_limit=CLONE_SECONDS)
        _let_everybody_read(workspace)
        if found.changed:
            console.say(f"Warning: {len(found.changed)} uncommitted change(s) of {source} are left out.")
        yield workspace


def clone_argv(source: Path, workspace: Path) -> tuple[str, ...]:
    """The command that clones a checkout, which may be another user's.

    The program that it starts to read the source hears nothing of its options, and is told itself.
    """
    reader = "git -c safe.directory='*' upload-pack"
    return (*CLONE, f"--upload-pack={reader}", str(source), str(workspace))


def _let_everybody_read(folder: Path) -> None:
    """Let everybody read and enter what the owner may, as a umask of 022 does: steps run as other users."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | mode >> 3 & 0o050 | mode >> 6 & 0o005)
