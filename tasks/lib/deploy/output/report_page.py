"""A deploy's report as one page: how it ended, why, when what was done, the plan, and the logs."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tasks.lib.console import spoken
from tasks.lib.deploy.events import BAD, GOOD, SETTLED, Result
from tasks.lib.deploy.output import page as pages
from tasks.lib.deploy.output import plans
from tasks.lib.deploy.output.page import Bar, chart
from tasks.lib.deploy.steps import Plan

COLOURS: Final = {"deployed": "green", "unchanged": "green", "interrupted": "yellow"}
# Times in a report are whole milliseconds: a beginning may seem to lie before its phase.
ROUNDED: Final = 0.002


def page(content: Mapping[str, Any], plan: Plan | None) -> str:
    """The whole page."""
    parts = [
        _result(content),
        _release(content),
        _section("Timeline", chart(bars(content), content["seconds"])),
        _section("Plan", plans.as_section(plan)) if plan else "",
        _section("Objects", _objects(content["objects"])) if content["objects"] else "",
        _log(content),
        _told(content["told"]),
    ]
    return pages.document(f"Deploy of {content['environment']}", "\n".join(filter(None, parts)))


def bars(content: Mapping[str, Any]) -> list[Bar]:
    """The bars of the chart: each phase, followed by what was worked on in it."""
    drawn = [
        [Bar(phase["title"], phase["began"], phase["seconds"], is_phase=True)] for phase in content["phases"]
    ]
    for row in content["objects"]:
        if row["began"] is not None:
            label = f"{row['kind']} {row['name']}"
            bar = Bar(label, row["began"], row["seconds"], _colour(row), _words(row))
            begun = [phase for phase in content["phases"] if phase["began"] <= row["began"] + ROUNDED]
            drawn[max(len(begun) - 1, 0)].append(bar)
    return [bar for group in drawn for bar in group]


def _colour(row: Mapping[str, Any]) -> str:
    if row["result"] in GOOD:
        return "green"
    return "red" if row["result"] in BAD else "yellow"


def _words(row: Mapping[str, Any]) -> str:
    return f"{row['result']}: {row['detail']}" if row["detail"] else str(row["result"])


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def _result(content: Mapping[str, Any]) -> str:
    colour = COLOURS.get(content["result"], "red")
    head = f'<p id="result" class="{colour}"><strong>{html.escape(content["result"])}</strong> after '
    head += f"{spoken(content['seconds'])}</p>"
    said = "".join(f"<p>{html.escape(line)}</p>" for line in content["end"])
    problem = content["failure"]
    if not problem:
        return head + said
    why = pages.lines(("", line) for line in problem["why"].splitlines()) if problem["why"] else ""
    way_out = f"<p>Next: {html.escape(problem['next'])}</p>" if problem["next"] else ""
    diagnosis = f'<p class="red">{html.escape(problem["what"])}</p>{why}{way_out}'
    return head + said + _section("Diagnosis", diagnosis)


def _release(content: Mapping[str, Any]) -> str:
    known = dict(content["release"])
    images = ", ".join(json.loads(known.pop("images", "[]")))
    first = [(name, known.pop(name, "")) for name in ("commit", "tag", "branch", "build", "who", "backup")]
    rest = [(name.replace("_", " "), str(value)) for name, value in known.items() if name not in TIMES]
    times = [("began", content["began"]), ("took", spoken(content["seconds"]))]
    return _section("Release", pages.facts([*first, *times, *rest, ("images", images)]))


TIMES: Final = frozenset({"began", "seconds"})


def _objects(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [row for row in rows if row["result"] not in SETTLED]
    settled = len(rows) - len(shown)
    lines = [
        (
            "" if row["result"] == Result.NOT_REACHED else _colour(row),
            f"{row['kind']} {row['name']}: {_words(row)}"
            + (f" ({spoken(row['seconds'])})" if row["seconds"] is not None else ""),
        )
        for row in shown
    ]
    rest = f"<p>{settled} of {len(rows)} are unchanged.</p>" if settled else ""
    return (pages.lines(lines) if lines else "") + rest


def _log(content: Mapping[str, Any]) -> str:
    if not content["log"]:
        return ""
    by_pod: dict[str, list[tuple[str, str]]] = {}
    for entry in content["log"]:
        by_pod.setdefault(entry["pod"], []).append(("", entry["line"]))
    left = content["log_lines_left_out"]
    note = f"<p>{left} earlier lines are left out.</p>" if left else ""
    return _section(
        "Logs of Jobs",
        note
        + "".join(pages.folded(f"{pod}: {len(of)} lines", pages.lines(of)) for pod, of in by_pod.items()),
    )


def _told(told: Sequence[Mapping[str, Any]]) -> str:
    if not told:
        return ""
    lines = [
        ("", f"{entry['at']:8.1f} s  {entry['object'] and entry['object'] + ': '}{entry['text']}")
        for entry in told
    ]
    return _section("What was told", pages.folded(f"{len(told)} lines", pages.lines(lines)))
