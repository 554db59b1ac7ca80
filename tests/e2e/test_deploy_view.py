"""What a person sees of a deploy: on real pseudo-terminals of several sizes, and in a pipe."""

import itertools
import os
import re
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.builders import ROOT
from tests.sandbox_case import Case, Sandbox, make_case
from tests.screen import Screen, on_screen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT = "a" * 40
NOTHING: Mapping[str, str] = {}
ROW = re.compile(r"^[✓✗…·] +\S")
HIDE, SHOW, COLOUR = b"\x1b[?25l", b"\x1b[?25h", re.compile(rb"\x1b\[[0-9;]*(3|4|9)[0-7]m")


@contextmanager
def deploying(
    case: Case,
    columns: int = 100,
    lines: int = 30,
    task: str = "deploy",
    variables: Mapping[str, str] = NOTHING,
) -> Iterator[Screen]:
    env = {**case.env(), "TERM": "xterm-256color", "CI": "", **variables}
    argv = case.argv(task, "--branch", "develop", "--commit", COMMIT)
    with on_screen(argv, ROOT, env, columns, lines) as screen:
        yield screen


def rows(shown: list[str]) -> list[str]:
    return [line for line in shown if ROW.match(line)]


def has_row(text: str, *more: str) -> Callable[[list[str]], bool]:
    return lambda shown: any(all(part in row for part in (text, *more)) for row in rows(shown))


def test_one_table_updates_in_place_and_leaves_only_the_summary(environment: Case) -> None:
    slowly = {"sandbox.lookit.org/ready-after": "8s"}
    environment.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": slowly}}}})

    with deploying(environment, columns=120, lines=50) as screen:
        waiting = screen.until(has_row(f"Deployment {environment.name}-web", "0/1", "0 of 1 available"))
        assert screen.end() == 0

    tables = [shown for shown in screen.seen if rows(shown)]
    assert all(sum("reason" in line and "object" in line for line in shown) <= 1 for shown in tables)
    assert any("staging: web, worker, beat and builder (4 of 5)" in line for line in waiting)
    assert has_row(f"Job {environment.name}-migration", "1/1", "complete")(waiting)
    ages = [
        float(found[1])
        for shown in tables
        for row in rows(shown)
        if f"{environment.name}-web" in row and "0/1" in row and (found := re.search(r"([\d.]+) s ", row))
    ]
    # How many pictures a second there are is up to how busy the machine is.
    assert ages == sorted(ages)
    assert ages[-1] - ages[0] > 1, "the age does not count up"
    left = "\n".join(screen.whole)
    assert not rows(screen.whole)
    assert "==> jobs" in left
    assert f"{environment.name}-migration" in left
    assert "| Running migrations:" in left
    assert left.count("is deployed: 32 of 32 objects changed") == 1
    assert not screen.cursor_hidden


def test_a_narrow_and_low_terminal_shows_what_is_in_work_and_counts_the_rest(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    # On a busy machine others take longer than the first limit too: then again, from nothing, with more time.
    for limit in (6, 20, 60):
        case = make_case(sandbox, tmp_path / f"{limit}", f"n{uuid.uuid4().hex[:8]}")
        case.behave("Deployment", "web", "never-ready")
        limits = {"INVOKE_TIME_LIMITS_ROLLOUT": f"{limit}s"}
        with deploying(case, columns=60, lines=12, variables=limits) as screen:
            assert screen.end() == 70
        case.api.delete(f"/api/v1/namespaces/{case.name}")
        told = f"1 of the workloads were not ready within {limit} s."
        if told in " ".join(screen.whole):
            break

    assert told in " ".join(screen.whole)
    shown = screen.until(has_row(f"deploy/{case.name}-web", "0/1"))
    assert re.search(r"\d+ more: \d+ done, \d+ to come", "\n".join(shown))
    for one in screen.seen:
        assert len(one) <= 12
        table = [number for number, line in enumerate(one) if ROW.match(line)]
        assert len(table) <= 8
    assert f"  StatefulSet {case.name}-lookit-rabbitmq: ready" in "\n".join(screen.whole)
    assert not screen.cursor_hidden


def test_ctrl_c_gives_the_terminal_back(environment: Case) -> None:
    environment.behave("Deployment", "web", "never-ready")
    with deploying(environment) as screen:
        screen.until(has_row(f"{environment.name}-web"))
        screen.until(lambda _: screen.cursor_hidden)
        screen.type("\x03")
        assert screen.end() == 130

    assert not screen.cursor_hidden
    assert not rows(screen.now[-3:])
    assert screen.raw.rindex(SHOW) > screen.raw.rindex(HIDE)
    left = "\n".join(screen.whole)
    assert "Stopped by Ctrl-C." in left
    assert "is not fully deployed" in left
    assert "Traceback" not in left


def test_a_failure_gives_the_terminal_back_and_is_told_below_the_summary(environment: Case) -> None:
    environment.behave("Deployment", "web", "crash-loop")
    with deploying(environment) as screen:
        assert screen.end() == 1

    left = "\n".join(screen.whole)
    assert left.index("is not fully deployed") < left.rindex("cannot become ready.")
    assert not screen.cursor_hidden


def test_no_color_is_respected(environment: Case) -> None:
    with deploying(environment, variables={"NO_COLOR": "1"}) as screen:
        assert screen.end() == 0
    assert any(rows(shown) for shown in screen.seen)
    assert not COLOUR.search(screen.raw)

    with deploying(environment) as screen:
        assert screen.end() == 0


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"CI": "true"}], ids=["dumb", "ci"])
def test_a_terminal_without_a_person_or_a_cursor_gets_lines(
    environment: Case, variables: dict[str, str]
) -> None:
    with deploying(environment, variables=variables) as screen:
        assert screen.end() == 0
    assert HIDE not in screen.raw
    assert b"\x1b[" not in screen.raw
    assert f"  Job {environment.name}-migration: started" in screen.whole


def test_a_log_can_say_nothing_to_the_terminal(environment: Case) -> None:
    environment.behave("Job", "migration", "", logs="evil\x1b[2J\x1b]0;owned\x07 done")
    with deploying(environment) as screen:
        assert screen.end() == 0
    assert b"\x1b[2J" not in screen.raw
    assert b"owned" not in screen.raw
    assert "| evil done" in "\n".join(screen.whole)


def test_a_rehearsal_on_a_terminal_shows_the_table_too(environment: Case) -> None:
    with deploying(environment, task="rehearse") as screen:
        screen.until(lambda shown: bool(rows(shown)))
        assert screen.end() == 0
    left = "\n".join(screen.whole)
    assert "Rehearsal of staging" in left
    assert not screen.cursor_hidden


def test_in_a_pipe_no_object_speaks_more_than_once_a_second(environment: Case) -> None:
    process = environment.start("deploy", "--branch", "develop", "--commit", COMMIT)
    spoken: dict[str, list[Line]] = defaultdict(list)
    lines = list(timed_lines(process))
    assert process.wait(60) == 0
    for line in lines:
        if found := re.match(r"  ([A-Z]\w+ [-.\w:]+): ", line.text):
            spoken[found[1]].append(line)
    assert len(spoken) == 32
    pairs = [pair for told in spoken.values() for pair in itertools.pairwise(told)]
    assert [(one, other) for one, other in pairs if other.latest - one.earliest < 0.99] == []
    assert pairs
    assert not any("\x1b" in line.text for line in lines)


class Line(NamedTuple):
    """A line, and between which moments it was written: the reader may be late, on a busy machine."""

    earliest: float
    latest: float
    text: str


def timed_lines(process: "subprocess.Popen[str]") -> Iterator[Line]:
    """What a process says on stderr, and when: what comes after a look that found nothing was written after that."""
    assert process.stderr
    pipe, rest, empty = process.stderr.fileno(), b"", time.monotonic()
    os.set_blocking(pipe, False)
    while True:
        looked = time.monotonic()
        try:
            data = os.read(pipe, 65536)
        except BlockingIOError:
            empty = looked
            time.sleep(0.005)
            continue
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from (Line(empty, time.monotonic(), line.decode()) for line in whole)
