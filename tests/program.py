"""The tasks' command line as a whole, in this process: a process of its own takes longer to start than to run."""

import copy
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import invoke
import pytest
from invoke.loader import FilesystemLoader
from invoke.main import program as plain_invoke

from tasks import cli
from tasks.__main__ import Config, Program
from tasks.lib.deploy.output import display
from tests.builders import ROOT, invoke_yaml


@dataclass(frozen=True)
class Ended:
    """How a command line ended, and what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def returncode(self) -> int:
        """The same, as a process of its own calls it."""
        return self.code


class Here:
    """Runs command lines in this process.

    tasks.py takes the place of the package tasks while one runs, as it does in a process of its own.
    """

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def inv(self, *argv: str, stdin: str = "", **variables: str) -> Ended:
        """`./inv ARGV`, with a stdin that is no terminal."""
        with self._patch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            return self._run(_our_program(), ["inv", *argv], variables)

    def plain(self, *argv: str, **variables: str) -> Ended:
        """`invoke ARGV`, without this project's own program around it."""
        cli.refuse_unreadable_settings.cache_clear()  # a process of its own looks once
        with self._patch.context() as patch:
            patch.setattr(invoke.Config, "_load_yaml", _loaded_once(invoke.Config._load_yaml))
            return self._run(plain_invoke, ["invoke", *argv], variables)

    def namespace(self) -> invoke.Collection:
        """All tasks, as Invoke loads them."""
        with self._place():
            module, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
        namespace: invoke.Collection = module.namespace
        return namespace

    def parse(self, argv: Sequence[str], namespace: invoke.Collection) -> None:
        """Read `./inv ARGV` without running it; `namespace` has the tasks that may stand there.

        Raises:
            invoke.Exit: it is not understood.

        """
        program = Program(binary_names=["inv"], namespace=namespace, config_class=Config)
        with self._place():
            program.create_config()
            program.parse_core(["inv", *argv])
            program.parse_collection()
            program.parse_tasks()

    def _run(self, program: invoke.Program, argv: list[str], variables: Mapping[str, str]) -> Ended:
        self._capture.readouterr()
        with self._place() as patch:
            code = _run(program, argv, variables, patch)
        return Ended(code, *self._capture.readouterr())

    @contextmanager
    def _place(self) -> Iterator[pytest.MonkeyPatch]:
        with self._patch.context() as patch:
            _take_place(patch)
            yield patch


# What is to be done as soon as a task has printed a text.
When = Mapping[str, Callable[[], object]]


class Overheard(io.StringIO):
    """What a task prints; once it has printed a text of `when`, what belongs to that is done, before it goes on."""

    def __init__(self, when: When) -> None:
        super().__init__()
        self.due = dict(when)
        self.failed: list[BaseException] = []

    def write(self, text: str) -> int:
        written = super().write(text)
        for said in [one for one in self.due if one in self.getvalue()]:
            try:
                self.due.pop(said)()
            except BaseException as error:  # in a thread that only prints, nobody would hear of it
                self.failed.append(error)
        return written

    def require_done(self) -> None:
        """Raise what went wrong, or AssertionError for a text that never came."""
        for error in self.failed:
            raise error
        assert not self.due, f"it never said {list(self.due)}:\n{self.getvalue()}"


def inv(argv: Sequence[str], env: Mapping[str, str], when: When | None = None) -> Ended:
    """Run `./inv ARGV` in this process, with these variables and no others; for who has no fixture `here`.

    Args:
        argv: the command line.
        env: the variables.
        when: what to do as soon as stderr has a text; each once, and each has to happen.

    """
    stdout, stderr = io.StringIO(), Overheard(when or {})
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = _alone(argv, env)
    stderr.require_done()
    return Ended(code, stdout.getvalue(), stderr.getvalue())


def inv_with_programs(argv: Sequence[str], env: Mapping[str, str]) -> Ended:
    """The same, with what the programs that a task runs write to its own streams, such as Docker's client."""
    with _caught(1) as stdout, _caught(2) as stderr:
        with _writing(1) as out, _writing(2) as err, redirect_stdout(out), redirect_stderr(err):
            code = _alone(argv, env)
        return Ended(code, _text(stdout), _text(stderr))


def _alone(argv: Sequence[str], env: Mapping[str, str]) -> int:
    timer = signal.getitimer(signal.ITIMER_REAL)
    with pytest.MonkeyPatch.context() as patch:
        _take_place(patch)
        for name in set(os.environ) - set(env):
            patch.delenv(name)
        # An object's line that comes within a second of its last one may never be printed: the speed decides.
        patch.setattr(display, "QUIET", 0.0)
        code = _run(_our_program(), ["inv", *argv], env, patch)
    signal.setitimer(
        signal.ITIMER_REAL, *timer
    )  # the test's own limit, in whose place an upload puts another
    return code


@contextmanager
def _caught(descriptor: int) -> Iterator[IO[bytes]]:
    """A file that takes what this process and its programs write to `descriptor` while inside."""
    before = os.dup(descriptor)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), descriptor)
            try:
                yield file
            finally:
                os.dup2(before, descriptor)
    finally:
        os.close(before)


def _writing(descriptor: int) -> io.TextIOWrapper:
    """A stream of text that keeps nothing back: programs write to the same descriptor."""
    return io.TextIOWrapper(os.fdopen(os.dup(descriptor), "wb", 0), "utf-8", write_through=True)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _loaded_once(load: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Invoke's way to read a file, but for invoke.yaml, for which its own parser takes a tenth of a second."""

    def read(config: Any, path: "os.PathLike[str]") -> Any:
        return copy.deepcopy(invoke_yaml()) if Path(path) == ROOT / "invoke.yaml" else load(config, path)

    return read


def _our_program() -> Program:
    return Program(name="lookit-orchestrator", binary="./inv", binary_names=["inv"], config_class=Config)


def _take_place(patch: pytest.MonkeyPatch) -> None:
    """Get ready to load tasks.py, and undo afterwards what a run leaves in its process."""
    patch.chdir(ROOT)
    patch.setitem(sys.modules, "tasks", sys.modules["tasks"])
    patch.setattr(cli, "leave_no_core", lambda: None)  # it would last as long as this process


def _run(
    program: invoke.Program, argv: list[str], variables: Mapping[str, str], patch: pytest.MonkeyPatch
) -> int:
    patch.setattr(sys, "argv", argv)  # where tasks find the words after --
    for name, value in variables.items():
        patch.setenv(name, value)
    if program is not plain_invoke:  # ./inv leaves the check to its own reading, and so does this
        patch.setattr(cli, "refuse_unreadable_settings", lambda: None)
    try:
        program.run(argv)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


LOAD = """
import json, sys
from invoke.loader import FilesystemLoader
loaded, _ = FilesystemLoader(start=sys.argv[1]).load("tasks")
def described(task):
    return {"doc": task.__doc__, "options": {one.name: one.help for one in task.get_arguments()}}
print(json.dumps({
    "file": sys.modules["tasks"].__file__,
    "settings": sys.modules["tasks"].settings.__file__,
    "tasks": {name: described(loaded.namespace[name]) for name in loaded.namespace.task_names},
}))
"""


@cache
def loaded() -> Mapping[str, Any]:
    """What Invoke makes of tasks.py, in a process of its own: this one has imported the package tasks already.

    The files behind `tasks` and `tasks.settings`; under `tasks`, for each name such as `secrets.log`, its
    docstring and its options with their help.  (Invoke takes the help away with the first look at them.)
    """
    done = subprocess.run(
        [sys.executable, "-c", LOAD, ROOT], capture_output=True, text=True, check=True, cwd="/"
    )
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def task_names() -> set[str]:
    """The names of all tasks."""
    return set(loaded()["tasks"])
