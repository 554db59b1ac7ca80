"""The status of environments as a screen, a page or JSON: what needs attention first."""

import html
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from tasks.lib import console, signals
from tasks.lib.console import Styled
from tasks.lib.deploy.output import page
from tasks.lib.errors import ChangesFound
from tasks.lib.files import write_atomically
from tasks.lib.operate.logs import Line
from tasks.lib.operate.overview import Overview, Workload, aged
from tasks.lib.operate.run import Run

PAUSE: Final = 5.0
# Of the terminal: bright ones are left out, as some themes show them on a background like themselves.
PALETTE: Final = tuple(f"\x1b[{number}m" for number in (36, 33, 32, 35, 34, 31))
RESET: Final = "\x1b[0m"
COLOURS: Final = {"ready": "green", "waiting": "yellow", "failed": "red"}
COLUMNS: Final = ("workload", "ready", "restarts", "oldest pod", "last reason", "image")


def deliver(found: Sequence[Overview], *, as_json: bool, path: str) -> None:
    """Print the screen, or JSON; and write the page where there is a path for it."""
    if path:
        write_page(found, path)
    emit_json(found) if as_json else show(found)


def watch(look: Callable[[], Sequence[Overview]], *, as_json: bool, path: str) -> NoReturn:
    """Deliver a new look every few seconds, on a terminal in place of the last one."""
    while True:
        found = look()
        if not as_json:
            console.console().clear()
        deliver(found, as_json=as_json, path=path)
        signals.sleep(PAUSE)


def show(found: Sequence[Overview]) -> None:
    """Print the screen."""
    for colour, line in attention_lines(found):
        console.draw(line, colour) if colour else console.say(line)
    for one in found:
        console.say()
        console.heading(one.environment)
        for name, value in facts(one):
            console.say(f"{name + ':':<14}{value}")
        if one.workloads:
            console.table(COLUMNS, [_cells(row, one.at) for row in one.workloads])


def emit_json(found: Sequence[Overview]) -> None:
    """Print JSON on one line, so that each look of --watch is one."""
    console.emit(json.dumps([asdict(one) for one in found], default=datetime.isoformat))


def write_page(found: Sequence[Overview], path: str) -> None:
    """Write the same as an HTML page."""
    body = page.lines(attention_lines(found))
    for one in found:
        body += f"<h2>{html.escape(one.environment)}</h2>{page.facts(facts(one))}{_table(one)}"
    write_atomically(Path(path), page.document("Status", body).encode(), 0o644)


def require_nothing(found: Sequence[Overview]) -> None:
    """Raise ChangesFound where something needs attention."""
    if count := sum(len(one.attention) for one in found):
        raise ChangesFound(f"Needs attention: {count}.")


def attention_lines(found: Iterable[Overview]) -> list[tuple[str, str]]:
    """What needs attention, as (colour, line) pairs: what it is, then what to do."""
    lines = [
        pair
        for one in found
        for item in one.attention
        for pair in (("red", f"! {one.environment}: {item.what}"), ("", f"    next: {item.do}"))
    ]
    return lines or [("green", "Nothing needs attention.")]


def facts(one: Overview) -> list[tuple[str, str]]:
    """What is known of an environment beside its workloads; the empty is left out."""
    found = [
        ("release", _release(one)),
        ("lock", one.lock or "free"),
        ("drift", "unknown" if one.drift is None else f"{one.drift} objects" if one.drift else "none"),
        ("backup", _backup(one)),
        ("certificates", ", ".join(f"{c.secret}: {_left(c.days)}" for c in one.certificates)),
        ("Ember", ", ".join(f"{a['app']} → {a['revision'] or 'another tool'}" for a in one.activated)),
        ("cluster", _versions(one)),
        ("Jobs", ", ".join(f"{j.name}: {j.result}{_ago(j.ended, one.at)}" for j in one.jobs)),
    ]
    return [(name, value) for name, value in found if value]


def _release(one: Overview) -> str:
    if not one.release:
        return "none"
    told = one.release
    age = _ago(datetime.fromisoformat(str(told["began"])), one.at) if "began" in told else ""
    behind = f", {told['behind']} commits behind {told.get('branch', 'its branch')}" if told["behind"] else ""
    commit = str(told.get("commit", "none"))[:7]
    return f"{told['number']}, commit {commit}: {told['result']}{age}, by {told['who']}{behind}"


def _backup(one: Overview) -> str:
    if not one.backup:
        return ""
    return f"{one.backup.state}{_ago(one.backup.began, one.at)}"


def _versions(one: Overview) -> str:
    nodes = ", ".join(one.node_versions)
    until = f", supported until {one.supported_until:%Y-%m-%d}" if one.supported_until else ""
    return f"{one.version}, nodes {nodes}{until}" if one.version else ""


def _left(days: int | None) -> str:
    return "none" if days is None else f"{days} days left"


def _ago(since: datetime | None, at: datetime) -> str:
    return f", {aged(since, at)} ago" if since else ""


def _cells(row: Workload, at: datetime) -> tuple[console.Cell, ...]:
    ready = Styled(row.ready, COLOURS[row.state])
    return row.name, ready, str(row.restarts), aged(row.oldest_pod, at), row.reason, short(row.images)


def short(images: Sequence[str]) -> str:
    """The images without registry and digest, a commit in short: `lookit:4c1ef0a`."""
    return ", ".join(dict.fromkeys(_short(image) for image in images))


def _short(image: str) -> str:
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return f"{name}:{tag[:7] if len(tag) == 40 else tag}" if tag else name


def _table(one: Overview) -> str:
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(console.text_of(c).plain)}</td>" for c in _cells(row, one.at))
        + "</tr>"
        for row in one.workloads
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""


def deliver_runs(found: Sequence[Run], *, as_json: bool) -> None:
    """Print runs as JSON on stdout, or as a table."""
    if as_json:
        console.emit(json.dumps([asdict(one) for one in found]))
        return
    rows = [(one.name, one.began[:19] + "Z", one.who, one.result, one.command) for one in found]
    console.table(("run", "began", "who", "result", "command"), rows)


class LogPrinter:
    """Prints lines of logs on stdout: each pod in a colour of its own, or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._colours: dict[str, str] = {}
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._palette = PALETTE if coloured and not as_json else ("",)

    def __call__(self, line: Line) -> None:
        """Print one line."""
        if self._as_json:
            console.emit(json.dumps(asdict(line)))
            return
        colour = self._colours.setdefault(line.pod, self._palette[len(self._colours) % len(self._palette)])
        prefix = f"{line.pod} {line.container} |"
        sys.stdout.write(f"{colour}{prefix}{RESET if colour else ''} {line.text}\n")
        sys.stdout.flush()
