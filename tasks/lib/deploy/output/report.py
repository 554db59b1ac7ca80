"""The report of one deploy: gathered from its events, and written as JSON and as a page when it ends.

Events come without secret values, so the report has none either.
"""

import datetime
import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tasks.lib import console
from tasks.lib.deploy.events import (
    Began,
    Decided,
    Ended,
    Event,
    LogLine,
    Notice,
    PhaseBegan,
    Record,
    Remembered,
    Tell,
    Told,
)
from tasks.lib.deploy.new_release import Request
from tasks.lib.deploy.output import report_page
from tasks.lib.deploy.output.table import WORKING, closing, look
from tasks.lib.deploy.steps import Plan
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.printable import clipped, one_line, printable
from tasks.lib.signals import exit_code, uninterrupted

JSON: Final = "deploy.json"
PAGE: Final = "deploy.html"
LOG_LINES: Final = 5000


class Report:
    """What is known of one deploy so far."""

    def __init__(self, environment: str, release: dict[str, str]) -> None:
        self._environment, self._release = environment, dict(release)
        self._wall, self._began = datetime.datetime.now(datetime.UTC), time.monotonic()
        self._records: list[Record] = []
        self._phases: list[tuple[str, float]] = []
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_LINES)
        self._told: deque[dict[str, Any]] = deque(maxlen=LOG_LINES)
        self._log_lines = 0
        self._end: list[str] = []
        self._lock = threading.Lock()
        self.plan: Plan | None = None

    def __call__(self, event: Event) -> None:
        """Take an event down."""
        now = round(time.monotonic() - self._began, 3)
        with self._lock:
            match event:
                case Began(record):
                    self._records.append(record)
                case Decided(plan):
                    self.plan = plan
                case Remembered(facts):
                    self._release |= {k: v for k, v in facts.items() if k not in {"phases", "secrets"}}
                case PhaseBegan(title):
                    self._phases.append((title, now))
                case Ended(record, seconds):
                    self._end = [closing(record, seconds)] if record.rows else ["Nothing was changed."]
                    self._end += record.aftermath
                case _:
                    self._note(event, now)

    def _note(self, event: Told | LogLine | Notice, now: float) -> None:
        match event:
            case LogLine(pod, line):
                self._log_lines += 1
                self._log.append({"at": now, "pod": one_line(pod), "line": clipped(one_line(line))})
            case Told(ref, text):
                self._told.append({"at": now, "object": str(ref), "text": one_line(text)})
            case Notice(text):
                self._told.append({"at": now, "object": "", "text": one_line(text)})

    def content(self, problem: BaseException | None) -> dict[str, Any]:
        """All of it, as JSON has it."""
        seconds = round(time.monotonic() - self._began, 3)
        ends = [start for _, start in self._phases[1:]] + [seconds]
        result, code = ending(problem, self._records)
        return {
            "environment": self._environment,
            "result": result,
            "exit_code": code,
            "began": self._wall.isoformat(timespec="seconds"),
            "seconds": seconds,
            "end": [one_line(line) for line in self._end],
            "failure": failure(problem),
            "release": self._release,
            "phases": [
                {"title": title, "began": start, "seconds": round(end - start, 3)}
                for (title, start), end in zip(self._phases, ends, strict=False)
            ],
            "objects": [row for record in self._records for row in self._rows(record, ends)],
            "plan": asdict(self.plan) if self.plan else None,
            "told": list(self._told),
            "log": list(self._log),
            "log_lines_left_out": self._log_lines - len(self._log),
        }

    def _rows(self, record: Record, ends: Sequence[float]) -> Iterator[dict[str, Any]]:
        for row in list(record.rows.values()):
            began = None if row.began is None else round(row.began - self._began, 3)
            seconds = row.seconds
            if began is not None and (seconds is None or look(row) is WORKING):  # to the end of its phase
                seconds = next((end for end in ends if end > began), began) - began
            yield {
                "phase": row.phase,
                "kind": row.ref.kind,
                "name": row.ref.name,
                "namespace": row.ref.namespace,
                "action": str(row.action),
                "result": str(row.result),
                "detail": one_line(row.detail),
                "ready": row.count,
                "began": began,
                "seconds": None if began is None or seconds is None else round(seconds, 3),
            }


def ending(problem: BaseException | None, records: Sequence[Record]) -> tuple[str, int]:
    """How it ended, in one or two words, and the exit code."""
    match problem:
        case None:
            return "deployed" if any(record.changed for record in records) else "unchanged", 0
        case TimedOut():
            return "timed out", problem.exit_code
        case KeyboardInterrupt():
            return "interrupted", exit_code(problem)
    return "failed", problem.exit_code if isinstance(problem, Failure) else 1


def failure(problem: BaseException | None) -> dict[str, str] | None:
    """What a failure says of itself; of an unexpected error only its kind: it may quote anything."""
    if problem is None:
        return None
    if isinstance(problem, Failure):
        return {
            "what": one_line(problem.what),
            "why": printable(problem.why),
            "next": printable(problem.next_step),
        }
    if isinstance(problem, KeyboardInterrupt):
        return {"what": f"Stopped by {str(problem) or 'Ctrl-C'}.", "why": "", "next": ""}
    return {"what": f"Unexpected error: {type(problem).__name__}.", "why": "", "next": ""}


@contextmanager
def kept(folder: str, request: Request, tell: Tell) -> Iterator[Tell]:
    """What is told while inside becomes a report, however it ends; `tell` hears it too.

    Raises UsageError where the folder cannot be written, before anything is begun.
    """
    if not folder:
        yield tell
        return
    target = Path(folder)
    _require_writable(target)
    report = Report(request.environment.name, request.variables.as_facts())

    def both(event: Event) -> None:
        report(event)
        tell(event)

    problem: BaseException | None = None
    try:
        yield both
    except BaseException as error:
        problem = error
        raise
    finally:
        with uninterrupted():
            _write(report, target, problem)


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


def _write(report: Report, folder: Path, problem: BaseException | None) -> None:
    """Write both files, readable by their owner only."""
    content = report.content(problem)
    try:
        write_atomically(folder / JSON, (json.dumps(content, indent=2) + "\n").encode())
        write_atomically(folder / PAGE, report_page.page(content, report.plan).encode(errors="replace"))
    except OSError as error:  # how the deploy ended stays the news
        console.say(f"The report could not be written to {folder}: {error.strerror or error}")
    else:
        console.say(f"report: {folder / PAGE}")
