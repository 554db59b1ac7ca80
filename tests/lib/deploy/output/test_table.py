import io

import pytest
from rich.console import Console

from tasks.lib.deploy.events import Record, Result
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.output.table import draw
from tasks.lib.deploy.steps import Action, Step

NOW = 1000.0


def record(*results: tuple[str, str, str, str]) -> Record:
    """A record from (phase, name, result, count)."""
    made = Record("staging", began=NOW)
    for phase, name, result, count in results:
        ref = Ref("apps/v1", "Deployment", "default", name)
        made.plan(phase, [Step(Wanted(ref, {}), Action.CREATE, "", {})])
        if result != "not reached":
            made.rows[ref].began = NOW
        came_to, _, detail = result.partition(": ")
        made.note(ref, Result(came_to), detail, count)
    return made


def screen(
    made: Record, width: int, height: int, phase: str = "workloads", now: float = NOW, **reasons: str
) -> list[str]:
    told = {Ref("apps/v1", "Deployment", "default", name): text for name, text in reasons.items()}
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(draw(made, phase, told, width, height, now))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


SEVERAL = (
    ("config", "conf", "unchanged", ""),
    ("workloads", "web", "waiting: 0 of 2 available", "0/2"),
    ("workloads", "worker", "ready", "1/1"),
    ("workloads", "beat", "failed: CrashLoopBackOff", "0/1"),
    ("ingress", "way-in", "not reached", ""),
)


def test_a_row_has_phase_object_count_age_and_reason() -> None:
    lines = screen(record(*SEVERAL), 110, 24)
    assert lines[0].startswith("staging: workloads (2 of 3), 0.0 s")
    assert lines[1].split() == ["phase", "object", "ready", "age", "reason"]
    assert [line.split() for line in lines[2:]] == [
        ["…", "workloads", "Deployment", "web", "0/2", "0.0", "s", "0", "of", "2", "available"],
        ["✓", "workloads", "Deployment", "worker", "1/1", "0.0", "s", "ready"],
        ["✗", "workloads", "Deployment", "beat", "0/1", "0.0", "s", "failed:", "CrashLoopBackOff"],
        ["·", "ingress", "Deployment", "way-in", "not", "reached"],
        ["1", "unchanged"],
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_table_has_short_kinds(width: int) -> None:
    names = [
        ("workloads", f"staging-{'long-' * 8}{n}", "waiting: no node has room for it " * 3, "0/1")
        for n in range(3)
    ]
    lines = screen(record(*names), width, 24)
    assert len(lines) == 5
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith("…  deploy/staging-") for line in lines[2:])
    assert all("0/1" in line for line in lines[2:])


@pytest.mark.parametrize("height", [1, 5, 10, 24])
def test_a_long_table_is_shortened_with_a_count(height: int) -> None:
    many = [("config", f"done-{n}", "applied", "") for n in range(500)]
    many += [("workloads", "web", "waiting: 0 of 2 available", "0/2")]
    many += [("workloads", "beat", "failed: CrashLoopBackOff", "0/1")]
    many += [("workloads", f"next-{n}", "not reached", "") for n in range(500)]
    lines = screen(record(*many), 80, height)
    assert len(lines) <= max(height - 1, 4)
    assert "deploy/beat" in "\n".join(lines)
    if height > 5:
        assert "deploy/web" in "\n".join(lines)
        shown = len(lines) - 3
        assert lines[-1] == f"{1002 - shown} more: {502 - shown} done, 500 pending"


def test_cells_are_text_and_neither_markup_nor_commands() -> None:
    made = record(("workloads", "web", "waiting: [red]\x1b[2J[/red]", "0/1"))
    assert "[red][/red]" in screen(made, 80, 24)[2]


def test_what_was_told_last_stands_beside_what_is_being_applied() -> None:
    made = record(("workloads", "web", "being applied", ""))
    assert screen(made, 80, 24, web="created")[2].endswith("created")


def test_the_age_of_a_row_in_work_counts_up() -> None:
    made = record(("workloads", "web", "waiting", "0/1"))
    pictures = [screen(made, 110, 24, now=NOW + seconds) for seconds in (0, 0.25, 1.5, 75)]
    assert [rows[2].split("0/1")[1].split("waiting")[0].strip() for rows in pictures] == [
        "0.0 s",
        "0.2 s",
        "1.5 s",
        "1 min 15 s",
    ]


def test_the_age_of_a_finished_row_stands_still() -> None:
    made = record(("workloads", "web", "waiting", "0/1"))
    ref = next(iter(made.rows))
    made.end(ref, Result.READY)
    made.rows[ref].seconds, made.rows[ref].began = 12.0, NOW - 100
    assert "12 s" in screen(made, 80, 24)[2]


def test_secret_values_are_blanked_out_of_rows() -> None:
    made = record(("workloads", "web", "waiting", "0/1"))
    made.blank = lambda text: text.replace("horse", "[redacted]")
    ref = next(iter(made.rows))
    made.note(ref, Result.WAITING, "horse", "0/1")
    assert made.rows[ref].words == "waiting: [redacted]"
    made.end(ref, Result.FAILED, "horse")
    assert made.rows[ref].words == "failed: [redacted]"
