"""Running programs: other modules build commands as tuples, and only this one runs them."""

import os
import resource
import shlex
import subprocess
import sys
import termios
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from tasks.lib import signals
from tasks.lib.background import Background, call
from tasks.lib.errors import Failure, TimedOut

LINES_OF_STDERR_TO_SHOW = 20
SECONDS_TO_END = 10.0
# A program that has ended may have left children that hold its stderr.
SECONDS_TO_READ = 2.0
PIECE = 65536
PR_SET_DUMPABLE = 4
# A program whose process group is killed once its stdin is closed, as the end of this process closes it.
LEASHED = 'exec 3<&0; (read _ <&3; kill -s KILL 0) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'
# Variables to set or, with None, to remove.
Changes = Mapping[str, str | None]
# Waits at most this many seconds for a program to end; returns whether it has.
Ended = Callable[[float], bool]


@dataclass(frozen=True)
class Completed:
    """The output of a program that succeeded."""

    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str],
    *,
    time_limit: float,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Changes | None = None,
    success: Collection[int] = (0,),
    apart: bool = False,
    setting: str = "",
) -> Completed:
    """Run a program to its end and return its output; it is killed after `time_limit` seconds.

    `apart` runs it in its own process group, so that Ctrl-C does not reach it.  `setting` is the key of the
    limit in invoke.yaml. Raises Failure where the program is missing or cannot be started, or exited with a
    code that is not in `success`; the last lines of its stderr are the reason. Raises TimedOut where it was
    still running at `time_limit`.
    """
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(
            list(argv), stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd,
            env=_changed(env), process_group=0 if apart else None,
        )  # fmt: skip
    except OSError as error:
        raise not_started(argv[0], error) from error
    try:
        stdout, stderr = call(_talk, child, stdin, time_limit)
    except subprocess.TimeoutExpired as error:
        raise _timed_out(argv, time_limit, last_lines(error.stderr or b""), setting) from error
    finally:
        _kill(child)
    if child.returncode not in success:
        raise exit_failure(argv, child.returncode, stderr or stdout)
    return Completed(stdout, stderr)


def stream(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Changes | None = None,
    time_limit: float | None = None,
    to_stderr: bool = False,
    errors: Callable[[bytes], None] | None = None,
    stop: Callable[[Ended], None] | None = None,
    setting: str = "",
) -> int:
    """Run a program in the foreground, on this process's own streams, and return its exit code.

    `errors` is given what it writes to stderr, piece by piece, in another thread. If interrupted, or after
    `time_limit`, the program is asked to end and waited for.  `stop` ends it in another way than by SIGTERM;
    it runs in its own session then, so that Ctrl-C does not reach it. Raises Failure where the program is
    missing, or cannot be started; TimedOut where it was still running at `time_limit`.
    """
    streams = {"stdout": sys.stderr if to_stderr else None, "stderr": subprocess.PIPE if errors else None}
    try:
        with _started(argv, cwd, _changed(env), streams, stop) as child:
            reading = Background(partial(_hand_on, child.stderr, errors)) if child.stderr and errors else None
            code = call(child.wait, time_limit)
            if reading:
                reading.is_done(SECONDS_TO_READ)
            return code
    except OSError as error:
        raise not_started(argv[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise _timed_out(argv, time_limit or 0, "", setting) from error


@contextmanager
def kept_terminal() -> Iterator[None]:
    """Give the terminal, where stdin is one, its modes back afterwards: who is killed leaves it raw."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def beside(argv: Sequence[str], *, env: Changes | None = None) -> Iterator[IO[bytes]]:
    """Run a program until the end of the block; yields what it writes, stdout and stderr together.

    It also ends with this process, even where that is killed.  Ctrl-C does not reach it.
    """
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        ["sh", "-c", LEASHED, "sh", *argv], env=_changed(env), stdin=pipe, stdout=pipe,
        stderr=subprocess.STDOUT, process_group=0,
    )  # fmt: skip
    with child, cast("IO[bytes]", child.stdin):
        yield cast("IO[bytes]", child.stdout)


def beside_another(
    argv: Sequence[str], *, env: Changes | None = None, other: Background[Any], own_interrupts: bool
) -> int | None:
    """Run a program in the foreground while `other` is in progress; returns its exit code.

    Returns None where `other` ended first, and ended the program.  With `own_interrupts` the program alone
    decides what Ctrl-C means. Raises Failure where it is missing, or cannot be started.
    """
    with ExitStack() as inside:
        inside.enter_context(kept_terminal())
        if own_interrupts:
            inside.enter_context(signals.left_to_a_child())
        try:
            child = inside.enter_context(_started(argv, None, _changed(env), {}, None))
        except OSError as error:
            raise not_started(argv[0], error) from error
        waiting = Background(child.wait)
        signals.until(lambda: waiting.is_done(0) or other.is_done(0))
        return waiting.wait() if waiting.is_done(0) else None


def _timed_out(argv: Sequence[str], time_limit: float, why: str, setting: str) -> TimedOut:
    """The error for a program that had to be ended."""
    return TimedOut(
        f"`{spelled(argv)}` did not finish within {time_limit:g} s and was ended.", why,
        f"Run it again; if it needs more time, raise {setting} in invoke.yaml." if setting else "",
    )  # fmt: skip


def _changed(env: Changes | None) -> dict[str, str]:
    """This process's variables with `env` applied."""
    return {name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None}


@contextmanager
def _started(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str],
    streams: Mapping[str, Any],
    stop: Callable[[Ended], None] | None,
) -> "Iterator[subprocess.Popen[bytes]]":
    """A program that runs at most until the end of the block."""
    child = subprocess.Popen(list(argv), cwd=cwd, env=env, start_new_session=stop is not None, **streams)
    try:
        yield child
    finally:
        if child.returncode is None:
            _end(child, stop)


def _hand_on(pipe: IO[bytes], errors: Callable[[bytes], None]) -> None:
    """Give `errors` what comes through a pipe, until its end."""
    with pipe:
        while piece := os.read(pipe.fileno(), PIECE):
            errors(piece)


def _end(child: "subprocess.Popen[bytes]", stop: Callable[[Ended], None] | None) -> None:
    """Ask a program to end, and kill it if it does not."""
    try:
        if stop:
            stop(lambda seconds: ended(child, seconds))
        else:
            child.terminate()
            ended(child, SECONDS_TO_END)
    finally:
        _kill(child)


def _talk(child: "subprocess.Popen[bytes]", stdin: bytes, time_limit: float) -> tuple[bytes, bytes]:
    """Give a program its input and return its output, as `subprocess.run` does."""
    with child:
        try:
            return child.communicate(stdin, time_limit)
        except subprocess.TimeoutExpired:
            child.kill()  # the block's end waits for it
            raise


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill a program if it still runs, and reap it."""
    child.kill()
    child.wait()


def ended(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait at most `seconds` for a program to end; returns whether it has."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def spelled(argv: Sequence[str]) -> str:
    """The command as typed in a shell, at most 200 characters."""
    line = shlex.join(argv)
    return line if len(line) <= 200 else line[:197] + "…"


def last_lines(output: bytes) -> str:
    """The end of a program's output, short enough for an error message."""
    return "\n".join(output.decode(errors="replace").rstrip().splitlines()[-LINES_OF_STDERR_TO_SHOW:])


def not_started(name: str, error: OSError) -> Failure:
    """The error for a program that is not installed, or that this user cannot run."""
    if isinstance(error, FileNotFoundError):
        return missing_program(name)
    return Failure(
        f"The program {name} cannot be started.", f"{error.strerror or error}.",
        f"Check that it is a program, and that you may run it: ls -l {shlex.quote(name)}",
    )  # fmt: skip


def missing_program(name: str) -> Failure:
    """The error for a program that is not installed."""
    return Failure(
        f"The program {name} was not found.", "It is neither at that path nor on PATH.",
        "Run `./inv doctor`: it shows how to install what is missing.",
    )  # fmt: skip


def exit_failure(argv: Sequence[str], code: int, output: bytes) -> Failure:
    """The error for a program that exited with `code`, or was killed by signal `-code`."""
    how = f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
    return Failure(f"`{spelled(argv)}` {how}.", last_lines(output))


def leave_no_core() -> None:
    """Disable core dumps of this process and its children.

    Children inherit the limit, and may raise it.  A system that pipes core dumps to a program, as systemd
    does, ignores the limit, so this process also becomes not dumpable, which keeps other processes of the
    same user from attaching to it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        import ctypes  # slow to load, and a list of the tasks needs none of this

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
