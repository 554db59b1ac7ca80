"""What tests do when a task in this process has said something."""

import os

import pytest

from tests import program

WRONG = ["no.such.task"]
SAID = "Unknown task 'no.such.task'."


def test_what_is_to_be_done_is_done_once_as_soon_as_it_was_said() -> None:
    done: list[str] = []

    ended = program.inv(WRONG, os.environ, {SAID: lambda: done.append(SAID)})

    assert (ended.code, done) == (2, [SAID])


def test_a_text_that_never_came_is_told() -> None:
    with pytest.raises(AssertionError, match="it never said .*anything else"):
        program.inv(WRONG, os.environ, {"anything else": lambda: None})


def test_what_goes_wrong_then_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        program.inv(WRONG, os.environ, {SAID: lambda: 1 // 0})
