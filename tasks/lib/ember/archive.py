"""Opening what a person named: a folder, an archive, or standard input."""

import sys
from pathlib import Path
from typing import IO

from tasks.lib import signals
from tasks.lib.ember.folder import Folder
from tasks.lib.ember.member import KNOWN, Archive
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.ember import Limits

STDIN = "-"


def open_archive(source: str, limits: Limits) -> Archive:
    """Open `source` for reading, without unpacking anything.

    Args:
        source: a path, or `-` for standard input.
        limits: what an archive may hold.

    Raises:
        UsageError: there is no such path, or none was named.
        Failure: it is no archive of a known kind, or cannot be read.

    """
    if not source:
        raise UsageError("No archive was named.", "", f"Say which with --archive. {KNOWN}")
    if source == STDIN:
        if sys.stdin is None:
            raise UsageError("Standard input is closed.", "", KNOWN)
        return _packed(sys.stdin.buffer, "standard input", limits, once=True)
    path = Path(source)
    try:
        if path.is_dir():
            return Folder(path)
        with signals.raised():  # a pipe may have no writer for long
            file = path.open("rb")
    except FileNotFoundError as error:
        raise UsageError(f"There is no archive {source}.", "", KNOWN) from error
    except (OSError, ValueError) as error:
        raise Failure(f"The archive {source} cannot be opened.", str(error)) from error
    # A pipe, such as a shell's <(…), can be read once only.
    return _packed(file, source, limits, once=not file.seekable())


def present(source: str) -> bool:
    """Whether `source` is there; what cannot be looked at may be, and `open_archive` says what is wrong."""
    try:
        return source == STDIN or (bool(source) and Path(source).exists())
    except OSError:
        return True


def _packed(file: IO[bytes], source: str, limits: Limits, *, once: bool) -> Archive:
    """The archive in `file`, which can perhaps be read once only."""
    # A folder needs none of this, and is listed in less time than this takes to load.
    from tasks.lib.ember.packed import recognised, spooled

    return recognised(spooled(file, limits) if once else file, source, limits)
