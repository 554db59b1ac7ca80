"""What a person sees of a deploy, on real pseudo-terminals of several sizes."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.builders import ROOT
from tests.deployed import CONFIG, in_every_phase, job, make_ready, words, workload
from tests.sandbox_case import Case
from tests.screen import Screen, on_screen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

NOTHING: Mapping[str, str] = {}
ROW = re.compile(r"^[✓✗…·] +\S")
HIDE, SHOW, COLOUR = b"\x1b[?25l", b"\x1b[?25h", re.compile(rb"\x1b\[[0-9;]*(3|4|9)[0-7]m")


@contextmanager
def deploying(
    case: Case,
    *options: str,
    columns: int = 100,
    lines: int = 30,
    variables: Mapping[str, str] = NOTHING,
) -> Iterator[Screen]:
    env = {**case.env(), "TERM": "xterm-256color", "CI": "", **variables}
    with on_screen(case.argv(*words(), *options), ROOT, env, columns, lines) as screen:
        yield screen


def rows(shown: list[str]) -> list[str]:
    return [line for line in shown if ROW.match(line)]


def has_row(text: str, *more: str) -> Callable[[list[str]], bool]:
    return lambda shown: any(all(part in row for part in (text, *more)) for row in rows(shown))


def test_one_table_updates_in_place_and_leaves_only_the_summary(environment: Case) -> None:
    migration = job()
    notes = migration["spec"]["template"]["metadata"]["annotations"]
    notes["sandbox.lookit.org/logs"] = "Running migrations:\nevil\x1b[2J\x1b]0;owned\x07 done"
    environment.hold_only(CONFIG, migration, workload("web", "never-ready"))

    with deploying(environment, columns=120, lines=50) as screen:
        waiting = screen.until(has_row("Deployment web", "0/1", "0 of 1 available"))
        make_ready(environment, "web")
        assert screen.end() == 0

    tables = [shown for shown in screen.seen if rows(shown)]
    assert all(sum("reason" in line and "object" in line for line in shown) <= 1 for shown in tables)
    assert any("staging: web, worker, beat and builder (3 of 3)" in line for line in waiting)
    assert has_row("Job migration", "1/1", "complete")(waiting)
    left = "\n".join(screen.whole)
    assert not rows(screen.whole)
    assert "==> jobs" in left
    assert "| Running migrations:" in left
    assert "| evil done" in left
    assert b"\x1b[2J" not in screen.raw
    assert b"owned" not in screen.raw
    assert left.count("is deployed: 3 of 3 objects changed") == 1
    assert not screen.cursor_hidden


@pytest.mark.long
def test_the_terminal_is_restored_after_every_deploy(environment: Case) -> None:
    hold(environment, "never-ready")
    assert_ctrl_c_on_a_narrow_and_low_terminal(environment)

    hold(environment, "crash-loop")
    with deploying(environment) as screen:
        assert screen.end() == 1
    left = "\n".join(screen.whole)
    assert left.index("is not fully deployed") < left.rindex("cannot become ready.")
    assert not screen.cursor_hidden

    hold(environment)
    with deploying(environment, variables={"NO_COLOR": "1"}) as screen:
        assert screen.end() == 0
    assert any(rows(shown) for shown in screen.seen)
    assert not COLOUR.search(screen.raw)

    # Without a person, or without a cursor that can move, there are lines.
    for variables in ({"TERM": "dumb"}, {"CI": "true"}):
        with deploying(environment, "--jobs", variables=variables) as screen:
            assert screen.end() == 0
        assert b"\x1b[" not in screen.raw
        assert "  Job migration: started" in screen.whole


def hold(case: Case, web: str = "") -> None:
    """A small site with a web that behaves like that, and more ConfigMaps than a low terminal has lines."""
    case.hold_only(
        *in_every_phase(workload("web", web)), *({**CONFIG, "metadata": {"name": f"c{n}"}} for n in range(12))
    )


def assert_ctrl_c_on_a_narrow_and_low_terminal(case: Case) -> None:
    with deploying(case, columns=60, lines=12) as screen:
        shown = screen.until(has_row("deploy/web", "0/1"))
        screen.until(lambda _: screen.cursor_hidden)
        screen.type("\x03")
        assert screen.end() == 130

    assert re.search(r"\d+ more: \d+ done, \d+ pending", "\n".join(shown))
    for one in screen.seen:
        assert len(one) <= 12
        assert len(rows(one)) <= 8
    assert "  StatefulSet lookit-rabbitmq: ready" in "\n".join(screen.whole)
    assert not screen.cursor_hidden
    assert not rows(screen.now[-3:])
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    left = "\n".join(screen.whole)
    assert "Stopped by Ctrl-C." in left
    assert "is not fully deployed" in left
    assert "not reached" in left
    assert "Traceback" not in left
