"""Refusals of the file system that a person can mend, in words: a full disk, a folder that is not theirs.

Other errors of the system are left as they are: they are more likely a defect of this project.
"""

import os
from errno import EACCES, EDQUOT, EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path

from tasks.lib.errors import Failure

FULL = frozenset({ENOSPC, EDQUOT})
NOT_ALLOWED = frozenset({EACCES, EPERM, EROFS})
IN_THE_WAY = frozenset({EEXIST, ENOTDIR, EISDIR})
NO_PLACE = frozenset({ENAMETOOLONG, ELOOP})


def refusal(error: OSError) -> Failure | None:
    """The message for `error`, or None where it is none of these."""
    import shlex

    place = str(error.filename) if error.filename else "a file or folder"
    why = f"{error.strerror}."
    if error.errno in FULL:
        return Failure(
            f"{place} cannot be written.", why, "Make room (df -h shows where), and run this again."
        )
    if error.errno in NOT_ALLOWED:
        return Failure(
            f"{place} cannot be used.", why, f"Look at its owner and mode: ls -ld {shlex.quote(place)}"
        )
    if error.errno in IN_THE_WAY:
        return Failure(f"{place} is in the way.", why, "Move it aside, or choose another place.")
    if error.errno in NO_PLACE:
        return Failure(f"{place} cannot be used.", why, "Choose another place.")
    if error.errno == ENOENT and not Path(error.filename or "").is_absolute() and _working_folder_is_gone():
        return Failure(
            "The folder that you stand in is no longer there.",
            next_step="Go to one that is, such as with `cd ~`, and run this again.",
        )
    return None


def real(path: Path) -> Path:
    """The absolute path without links; where these lead in a circle, that with them in it.

    `Path.resolve` raises a RuntimeError there until Python 3.13.
    """
    return Path(os.path.realpath(path))


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - only asks
    except FileNotFoundError:
        return True
    return False
