"""Keeping a deploy's report: as JSON and as one page, written whole at its end, however it ends."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.lib import console
from tasks.lib.deploy.events import Event, Tell
from tasks.lib.deploy.output import report_page
from tasks.lib.deploy.output.report import Report
from tasks.lib.errors import UsageError
from tasks.lib.files import write_atomically
from tasks.lib.signals import uninterrupted

if TYPE_CHECKING:
    from tasks.lib.deploy.new_release import Request

JSON: Final = "deploy.json"
PAGE: Final = "deploy.html"


@contextmanager
def kept(folder: str, request: "Request", tell: Tell) -> Iterator[Tell]:
    """What is told while inside becomes a report, however it ends; `tell` hears it too.

    Raises:
        UsageError: the folder cannot be written; nothing was begun.

    """
    if not folder:
        yield tell
        return
    target = Path(folder)
    _require_writable(target)
    variables = request.variables
    about = {
        "commit": variables.commit_sha, "branch": variables.branch_name,
        "tag": variables.tag_name, "build": variables.build_id,
    }  # fmt: skip
    report = Report(request.environment.name, about)

    def both(event: Event) -> None:
        report(event)
        tell(event)

    fault: BaseException | None = None
    try:
        yield both
    except BaseException as error:
        fault = error
        raise
    finally:
        with uninterrupted():
            _write(report, target, fault)


def write(report: Report, folder: Path, fault: BaseException | None) -> None:
    """Write both files, readable by their owner only.

    Raises:
        OSError: the folder cannot be written.

    """
    content = report.content(fault)
    write_atomically(folder / JSON, (json.dumps(content, indent=2) + "\n").encode())
    write_atomically(folder / PAGE, report_page.page(content, report.plan).encode(errors="replace"))


def _require_writable(folder: Path) -> None:
    probe = folder / f".{JSON}"
    try:
        write_atomically(probe, b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"No report can be written to {folder}.",
            error.strerror or str(error),
            "Name another --report DIR.",
        ) from error


def _write(report: Report, folder: Path, fault: BaseException | None) -> None:
    try:
        write(report, folder, fault)
    except OSError as error:  # how the deploy ended stays the news
        console.say(f"The report could not be written to {folder}: {error.strerror or error}")
    else:
        console.say(f"report: {folder / PAGE}")
