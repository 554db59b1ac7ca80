"""Steps in order, and one table in every case."""

import re

import pytest

from sandbox import steps
from sandbox.steps import Outcome, Step, run_all
from tasks.lib.console import Styled
from tasks.lib.errors import Failure


def _fails() -> str:
    raise Failure("The disk [is] full.", "No space left.")


def _interrupted() -> str:
    raise KeyboardInterrupt


def _table(text: str) -> list[list[str]]:
    rows = [re.split(r"\s*[│┃]\s*", line.strip("│┃ \n")) for line in text.splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_all_steps_run_in_order_and_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = run_all([Step("first", lambda: "3 files"), Step("second", lambda: "")], "Rehearsal")

    assert [(o.title, o.state, o.result) for o in outcomes] == [
        ("first", "done", "3 files"),
        ("second", "done", ""),
    ]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [row[:2] for row in _table(shown.err)] == [["first", "done: 3 files"], ["second", "done"]]
    assert "==> second" in shown.err


@pytest.mark.parametrize(
    ("broken", "error", "said"),
    [
        (_fails, Failure, "failed: The disk [is] full."),
        (_interrupted, KeyboardInterrupt, "interrupted"),
    ],
    ids=["failure", "interrupt"],
)
def test_the_rest_is_listed_as_not_run(broken, error, said: str, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        run_all(
            [Step("first", lambda: "fine"), Step("second", broken), Step("third", lambda: "never")],
            "Rehearsal",
        )

    assert [row[:2] for row in _table(capsys.readouterr().err)] == [
        ["first", "done: fine"], ["second", said], ["third", "not run"],
    ]  # fmt: skip


def test_a_step_that_did_not_run_has_no_time() -> None:
    assert steps.row(Outcome("x", "not run", "", 0)) == ["x", Styled("not run", "dim"), ""]
    assert steps.row(Outcome("x", "done", "", 3)) == ["x", Styled("done", "green"), "3.0 s"]
