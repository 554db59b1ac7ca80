"""The files that a build leaves: a folder for its steps' reports, and what is kept of the workspace.

Cloud Build uploads `artifacts.objects` of a build that succeeded, and of no other.  Here their folders are
kept on this machine, also of a build that failed.
"""

import glob
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from tasks.lib.errors import Failure
from tasks.lib.files import make_folders

Take = Callable[[str, Path], None]  # copies a file or folder of the workspace, or `.` for all, into a folder


def make_shared_folder(folder: Path) -> None:
    """Make a folder that every step may write to, whatever user it runs as; a Failure where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    except OSError as error:
        raise Failure(
            f"The folder {folder} cannot be shared: {error.strerror}.",
            "Only the owner of the workspace can do that: root, in Cloud Build.",
            "Run this step with the image whose tag ends in -docker.",
        ) from error


def keep(paths: Sequence[str], take: Take, folder: Path) -> list[Path]:
    """Copy artifacts into `folder`, which is made if there are any; returns the files.

    `paths` are those of the build file; of one in a folder the whole folder is kept.
    """
    kept = []
    with tempfile.TemporaryDirectory(prefix="lookit-artifacts-") as taken:
        for place in dict.fromkeys(map(_place, paths)):
            take(place, Path(taken))
        found = {file for path in paths for file in _files(path, Path(taken))}
        for file in sorted(found):
            target = folder / file.relative_to(taken)
            make_folders(target.parent)
            shutil.copyfile(file, target)
            kept.append(target)
    return kept


def _files(path: str, workspace: Path) -> Iterator[Path]:
    """The files that are kept for one path."""
    found = workspace.glob(path) if _place(path) == "." else (workspace / _place(path)).rglob("*")
    return (file for file in found if file.is_file())


def _place(path: str) -> str:
    """The folder at the workspace's top that a path lies in; `.` for one without, or with a pattern there."""
    first, *rest = PurePosixPath(path.removeprefix("/workspace/")).parts
    return first if rest and not glob.has_magic(first) else "."
