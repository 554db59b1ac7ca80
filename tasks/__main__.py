"""The program behind ./inv: Invoke under this project's name, with 2 as the exit code of bad usage.

Plain `invoke` runs the same tasks; a word that it does not know ends it with 1, as is its own custom.
"""

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

# Loading modules makes some ten thousands of objects and hardly any garbage: look for it once there are more.
gc.set_threshold(100_000)

from tasks import light_invoke  # noqa: E402

light_invoke.load()

from pathlib import Path  # noqa: E402

import invoke  # noqa: E402
from invoke.config import AmbiguousMergeError  # noqa: E402
from invoke.exceptions import AmbiguousEnvVar, Exit, ParseError  # noqa: E402
from invoke.parser import Parser, ParserContext  # noqa: E402

from tasks import cli  # noqa: E402
from tasks.lib.console import open_closed_streams  # noqa: E402
from tasks.lib.errors import UsageError  # noqa: E402
from tasks.lib.filesystem import refusal  # noqa: E402
from tasks.lib.printable import one_line  # noqa: E402
from tasks.lib.settings.files import read_file, refuse_missing  # noqa: E402

EXIT_USAGE = 2
LOOK_AT = "Look at invoke.yaml, ~/.invoke.yaml, /etc/invoke.yaml and the file of -f."
KNOWN = "  next: `./inv --list` shows the tasks, `./inv --help TASK` the options of one."


class Config(invoke.Config):
    """Invoke's configuration, but a file that cannot be read ends in a message."""

    def _load_yaml(self, path: "os.PathLike[str]") -> Any:
        try:
            return read_file(path)
        except UsageError as error:
            raise Exit(str(error), code=error.exit_code) from error

    _load_yml = _load_json = _load_yaml

    def load_runtime(self, merge: bool = True) -> None:
        """Read the file that `-f` names; Invoke would go on in silence where there is none."""
        if self._runtime_path is not None:
            try:
                refuse_missing(str(self._runtime_path))
            except UsageError as error:
                raise Exit(str(error), code=error.exit_code) from error
        super().load_runtime(merge=merge)

    @staticmethod
    def global_defaults() -> dict[str, Any]:
        """Invoke's defaults; the executor is this project's even where invoke.yaml is missing or empty."""
        defaults = invoke.Config.global_defaults()
        defaults["tasks"]["executor_class"] = "tasks.cli.Executor"
        return defaults


class Program(invoke.Program):
    """Invoke's program, but a command line that cannot be understood is bad usage."""

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        """Run, and end quietly when the reader of a pipe goes away, as `| head` does."""
        open_closed_streams()
        try:
            try:
                with _unusable_settings():
                    super().run(argv, exit)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _give_stdout_up()
            sys.exit(128 + signal.SIGPIPE)
        except OSError as error:
            if not (refused := refusal(error)):
                raise
            _give_stdout_up()
            sys.stderr.write(f"{refused}\n")
            sys.exit(refused.exit_code)

    def print_version(self) -> None:
        """Say this project's version and Invoke's."""
        import tomllib

        project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
        sys.stdout.write(f"{project['name']} {project['version']}, Invoke {invoke.__version__}\n")

    def parse_core(self, argv: list[str] | None) -> None:
        """Read Invoke's own options, and keep compiled modules: compiling them is half of a start."""
        with _bad_usage():
            super().parse_core(argv)
        sys.dont_write_bytecode = False

    def parse_tasks(self) -> None:
        """Read the tasks and their options."""
        if asked := task_to_explain(self.core.unparsed, self.collection.task_names):
            self.args.help.value, self.core.unparsed = asked, []
        self.core.unparsed = with_left_out_names(self.core.unparsed, self._names_that_may_be_left_out())
        with _bad_usage():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """Do what is asked for in place of tasks: help, lists, completion."""
        try:
            with _bad_usage():
                super().parse_cleanup()
        except Exit as end:
            if end.message and end.code == 1:  # a collection that --list does not know
                raise Exit(f"{end.message}\n{KNOWN}", code=EXIT_USAGE) from end
            raise

    def load_collection(self) -> None:
        """Load the tasks that the command line may name, or all of them where it asks which there are."""
        if self.args.complete.value or self.args.list.value or not self._words():
            super().load_collection()
            return
        with cli.naming(self._words()):
            super().load_collection()

    def _words(self) -> set[str]:
        """What may name a task."""
        named = self.args.help.value
        return {*self.core.unparsed, named} if isinstance(named, str) else set(self.core.unparsed)

    def _make_parser(self) -> Parser:
        """Know only the tasks that the command line may name: all of them take ten times as long."""
        if self.args.complete.value:
            return super()._make_parser()
        words = self._words()
        lenient = self.config.tasks.ignore_unknown_help
        contexts = [
            ParserContext(name, aliases, self.collection[name].get_arguments(lenient))
            for name, aliases in self.collection.task_names.items()
            if words.intersection((name, *aliases))
        ]
        return Parser(contexts, self.initial_context)

    def _names_that_may_be_left_out(self) -> dict[str, str]:
        """For each task, by all its names, the options that bare words after it are for; empty for none."""
        return {
            name: getattr(self.collection[canonical], "may_follow", "")
            for canonical, aliases in self.collection.task_names.items()
            for name in (canonical, *aliases)
        }


def with_left_out_names(words: list[str], names: dict[str, str]) -> list[str]:
    """Put options' names before bare words that directly follow their task.

    Args:
        words: the command line, such as `["secrets.log", "a.env"]`.
        names: for each task the options meant, such as `{"release.diff": "before after"}`; empty for none.

    Returns:
        The same, with the option's name: `["secrets.log", "--file", "a.env"]`.

    """
    result: list[str] = []
    open_ones: list[str] = []
    for word in words:
        if word in names:
            open_ones = names[word].split()
        elif word.startswith("-"):
            open_ones = []
        elif open_ones:
            result.append(f"--{open_ones.pop(0)}")
        result.append(word)
    return result


def task_to_explain(words: Sequence[str], names: Iterable[str]) -> str:
    """The task whose help is asked for by `TASK … --help`, or an empty text.

    Invoke would take --help for the value of a task's positional argument that was not given yet.
    """
    task = ""
    for before, word in pairwise(["", *words]):
        if word == "--help" or (word == "-h" and before == task):
            return task
        task = word if word in names else task
    return ""


@contextmanager
def _unusable_settings() -> Iterator[None]:
    """Tell what Invoke cannot make one configuration of; its own words would quote all settings."""
    try:
        yield
    except AmbiguousMergeError:
        what = "Two sources of settings cannot be merged: what is a section in one is none in the other."
    except AmbiguousEnvVar as error:
        what = f"Two settings have names that are one to variables of the environment: {error}."
    else:
        return
    sys.stderr.write(f"{UsageError(what, '', LOOK_AT)}\n")
    sys.exit(EXIT_USAGE)


def _give_stdout_up() -> None:
    """Let Python flush at the end what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _bad_usage() -> Iterator[None]:
    try:
        yield
    except ParseError as error:
        raise Exit(f"{one_line(str(error))}\n{KNOWN}", code=EXIT_USAGE) from error
    except ValueError as error:
        # Invoke converts values of options, and lets through what the conversion raises.
        raise Exit(
            f"The value of an option is of the wrong kind: {one_line(str(error))}\n{KNOWN}", code=EXIT_USAGE
        ) from error


def run() -> None:
    """Run the program and end the process, without Python's taking all modules apart, which nobody needs.

    Threads that want to be waited for are, and what was registered for the end is done, as Python does it.
    What has started this as a part of its own, such as a profiler, goes on afterwards.
    """
    code = 0
    try:
        PROGRAM.run()
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        code = end.code or 0
    if not _is_whole_process():
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def _is_whole_process() -> bool:
    """Whether nobody goes on afterwards: `python -m cProfile` and `coverage run` write what they saw."""
    ours = {__file__, "<frozen runpy>", "<string>"}  # the last is what `python -c` runs
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame and frame.f_code.co_filename in ours:
        frame = frame.f_back
    return frame is None


PROGRAM = Program(name="lookit-orchestrator", binary="./inv", binary_names=["inv"], config_class=Config)

if __name__ == "__main__":
    run()
