"""Signals unwind, and each has its exit code."""

import os
import signal

import pytest

from tasks.lib.interruption import Terminated, deferred, exit_code, signals_unwind


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_a_signal_raises_in_the_main_thread_and_old_handlers_return(
    number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)

    with pytest.raises(Terminated, match=number.name) as caught, signals_unwind():
        os.kill(os.getpid(), number)

    assert exit_code(caught.value) == code
    assert signal.getsignal(number) is before


def test_ctrl_c_exits_with_130() -> None:
    assert exit_code(KeyboardInterrupt()) == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_deferred_signal_comes_when_the_block_is_whole(number: signal.Signals) -> None:
    done = []

    def work() -> None:
        with deferred():
            os.kill(os.getpid(), number)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert done == ["whole"]
    assert exit_code(caught.value) == 128 + number
