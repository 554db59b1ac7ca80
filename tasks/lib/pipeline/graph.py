"""Running a graph of steps: steps that are ready run side by side, and a failure ends the others.

A launcher says what program a step is; here it is started, watched and ended.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from tasks.lib.background import Background, call
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.pipeline.steps import ReadyStep
from tasks.lib.process import Ended, ended, not_started
from tasks.lib.signals import uninterrupted, until

State = Literal["SUCCESS", "FAILURE", "TIMEOUT", "CANCELLED", "NOT RUN", "SKIPPED"]
LONGEST_LINE = 65_536  # bytes of a line of output that are shown
SECONDS_TO_END = 30.0  # a task that is cancelled removes what it made first


@dataclass(frozen=True)
class Launch:
    """The program that a step is: arguments, variables added and left out, folder.

    `stop` ends what SIGTERM would not: it is called before that, and may wait for the program's end.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    without: Collection[str] = ()
    cwd: Path | None = None
    stop: Callable[[Ended], None] = lambda _: None


@dataclass(frozen=True)
class Result:
    """How a step ended; `allowed` tells a failure that does not count."""

    step: ReadyStep
    state: State
    code: int | None = None
    seconds: float = 0.0
    allowed: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether steps that wait for this one may begin."""
        return self.state in {"SUCCESS", "SKIPPED"} or self.allowed


class Graph:
    """One run of a build's steps; those that are not `chosen` count as done.

    `tell` takes lines of output and news, and is called from several threads.
    """

    def __init__(
        self,
        steps: Sequence[ReadyStep],
        chosen: Collection[int],
        launch: Callable[[ReadyStep], Launch],
        tell: Callable[[ReadyStep, str], None],
        timeout: float,
    ) -> None:
        self._steps = steps
        self._launch = launch
        self._tell = tell
        self._timeout = timeout
        self._running: dict[int, _Running] = {}
        self.results = {s.index: Result(s, "SKIPPED") for s in steps if s.index not in chosen}

    def run(self) -> list[Result]:
        """Run the steps and return how each ended, in their order in the file.

        Raises TimedOut where the whole build took too long; `results` tells how each step ended.
        """
        deadline = time.monotonic() + self._timeout
        try:
            while not self._failed() and (self._begin_ready() or self._running):
                self._wait(deadline)
        finally:
            with uninterrupted():
                self._end_all()
        return list(self.results.values())

    def _failed(self) -> bool:
        """Whether a step failed; one that took too long failed before it has ended."""
        late = any(r.late and not r.step.allows(None) for r in self._running.values())
        return late or any(not result.succeeded for result in self.results.values())

    def _begin_ready(self) -> bool:
        """Begin every step whose needs are met; returns whether there was one."""
        pending = [s for s in self._steps if s.index not in self.results and s.index not in self._running]
        ready = [s for s in pending if all(self._done(number) for number in s.needs)]
        for step in ready:
            self._tell(step, "starting")
            launch = self._launch(step)
            self._running[step.index] = _Running(step, launch, self._tell)
        return bool(ready)

    def _done(self, index: int) -> bool:
        return index in self.results and self.results[index].succeeded

    def _wait(self, deadline: float) -> None:
        """Wait until a step ends, or a limit is reached."""
        soonest = min([deadline, *(running.deadline for running in self._running.values())])
        until(self._over, max(soonest - time.monotonic(), 0))
        for running in self._over():
            self._record(self._running.pop(running.step.index))
        self._keep_limits(deadline)

    def _over(self) -> "list[_Running]":
        return [running for running in self._running.values() if running.is_over]

    def _keep_limits(self, deadline: float) -> None:
        """Begin to end what took too long; the other steps and limits go on."""
        now = time.monotonic()
        for running in [r for r in self._running.values() if r.deadline <= now]:
            running.late = True
            running.begin_to_end()
        if deadline <= now:
            raise TimedOut(
                f"The build took longer than its timeout of {self._timeout:g} s and was stopped.",
                next_step="Raise `timeout` in the build file, or see above which step hangs.",
            )

    def _record(self, running: "_Running") -> None:
        step = running.step
        if running.late:
            running.wait_for_end()
            self._note(Result(step, "TIMEOUT", None, running.seconds, step.allows(None)))
            return
        code = running.finish()
        state: State = "FAILURE" if code else "SUCCESS"
        allowed = bool(code) and step.allows(code)
        self._note(Result(step, state, code, running.seconds, allowed))

    def _note(self, result: Result) -> None:
        self.results[result.step.index] = result
        ending = f" (exit code {result.code})" if result.code else ""
        excuse = ", which is allowed" if result.allowed else ""
        self._tell(result.step, f"finished: {result.state}{ending}{excuse}")

    def _end_all(self) -> None:
        """End all steps together, so that it takes no longer than the slowest."""
        for running in self._running.values():
            running.begin_to_end()
        until(lambda: len(self._over()) == len(self._running))
        while self._running:
            _, running = self._running.popitem()
            if running.late:
                self._record(running)
                continue
            running.wait_for_end()
            self.results[running.step.index] = Result(running.step, "CANCELLED", None, running.seconds)
        for step in self._steps:
            self.results.setdefault(step.index, Result(step, "NOT RUN"))
        self.results = dict(sorted(self.results.items()))


def _started(step: ReadyStep, launch: Launch) -> "subprocess.Popen[bytes]":
    """Start a step's program."""
    inherited = {name: value for name, value in os.environ.items() if name not in launch.without}
    try:
        return subprocess.Popen(
            list(launch.argv), cwd=launch.cwd, env={**inherited, **launch.env}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise not_started(launch.argv[0], error) from error
    except ValueError as error:
        raise Failure(
            f"Step {step.title} cannot be started.",
            "One of its arguments, variables or secrets holds a NUL byte, which no program can be given.",
        ) from error


class _Running:
    """A step's program while it runs, in a process group of its own, so that Ctrl-C reaches it through us."""

    def __init__(self, step: ReadyStep, launch: Launch, tell: Callable[[ReadyStep, str], None]) -> None:
        self.step = step
        self._launch = launch
        self._tell = tell
        self._began = time.monotonic()
        self._stopped: float | None = None
        self._ending: Background[None] | None = None
        self.late = False
        self.deadline = self._began + (step.timeout or float("inf"))
        self._child = _started(step, launch)
        self._reader = Background(self._read)

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return (self._stopped or time.monotonic()) - self._began

    @property
    def is_over(self) -> bool:
        """Whether its output has ended, or it has been made to end."""
        return (self._ending or self._reader).is_done(0)

    def finish(self) -> int:
        """Wait for a program whose output has ended, and return its exit code."""
        code = call(self._child.wait)
        self._stopped = time.monotonic()
        return code

    def begin_to_end(self) -> None:
        """Begin to end the program and everything that it started; see `is_over`."""
        self.deadline = float("inf")
        self._ending = self._ending or Background(self._end)

    def wait_for_end(self) -> None:
        """Wait for what `begin_to_end` began."""
        if self._ending:
            self._ending.wait()

    def _end(self) -> None:
        try:
            self._launch.stop(lambda seconds: ended(self._child, seconds))
        except Failure as failure:
            self._tell(self.step, f"may still be running: {failure.why or failure.what}")
        self._signal(signal.SIGTERM)
        if not ended(self._child, SECONDS_TO_END):
            self._signal(signal.SIGKILL)
            self._child.wait()
        self._stopped = time.monotonic()
        self._reader.is_done(SECONDS_TO_END)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def _read(self) -> None:
        assert self._child.stdout is not None  # noqa: S101 - asked for above
        for line in _lines(self._child.stdout):
            self._tell(self.step, line)


def _lines(output: IO[bytes]) -> Iterator[str]:
    """The lines of a program's output; a line that is too long is cut, with the number of bytes left out.

    The rest is not shown in pieces: a secret across two of them would not be redacted.
    """
    while line := output.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line.decode(errors="replace").rstrip("\r\n")
            continue
        yield line.decode(errors="replace").rstrip("\N{REPLACEMENT CHARACTER}") + "…"
        if left := _skip_line(output):
            yield f"({left:,} more bytes of this line are left out)"


def _skip_line(output: IO[bytes]) -> int:
    """Read to the end of a line; returns how many bytes that were."""
    skipped = 0
    while piece := output.readline(LONGEST_LINE):
        skipped += len(piece.removesuffix(b"\n"))
        if piece.endswith(b"\n"):
            break
    return skipped
