"""The program behind ./inv: Invoke under this project's name, with exit code 2 for bad usage.

Plain `invoke` runs the same tasks, but ends with 1 for an unknown task or option.
"""

import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import invoke
from invoke import Context
from invoke.config import AmbiguousMergeError
from invoke.exceptions import AmbiguousEnvVar, Exit, ParseError

from tasks import completion
from tasks.lib.console import open_closed_streams
from tasks.lib.errors import UsageError
from tasks.lib.files import refusal
from tasks.lib.printable import one_line
from tasks.lib.settings.files import read_file, refuse_missing

EXIT_USAGE = 2
# Invoke's messages
UNKNOWN = re.compile("No idea what '(.*)' is!")
NO_NUMBER = re.compile("invalid literal for int.. with base 10: (.*)")  # Python's message
MISSING = re.compile("'(?P<task>.*)' did not receive required positional arguments: (?P<names>.*)")
LOOK_AT = "Check invoke.yaml, ~/.invoke.yaml, /etc/invoke.yaml and the file of -f."
HELP = "`./inv --help TASK` shows the options of a task, `./inv --help` the options of Invoke itself."
KNOWN = "  next: `./inv --list` shows the tasks, `./inv --help TASK` the options of a task."


class Config(invoke.Config):
    """Invoke's configuration, with a message for a file that cannot be read."""

    def _load_yaml(self, path: "os.PathLike[str]") -> Any:
        try:
            return read_file(path)
        except UsageError as error:
            raise Exit(str(error), code=error.exit_code) from error

    _load_yml = _load_json = _load_yaml

    def load_runtime(self, merge: bool = True) -> None:
        """Read the file of `-f`; Invoke would ignore a missing one."""
        if self._runtime_path is not None:
            try:
                refuse_missing(str(self._runtime_path))
            except UsageError as error:
                raise Exit(str(error), code=error.exit_code) from error
        super().load_runtime(merge=merge)

    @staticmethod
    def global_defaults() -> dict[str, Any]:
        """Invoke's defaults with this project's executor, even if invoke.yaml is missing or empty."""
        defaults = invoke.Config.global_defaults()
        defaults["tasks"]["executor_class"] = "tasks.cli.Executor"
        return defaults


class Program(invoke.Program):
    """Invoke's program, with exit code 2 for a wrong command line."""

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        """Run, and end quietly if the reader of a pipe ends, as in `| head`."""
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
        """Print this project's version and Invoke's."""
        import tomllib

        project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
        sys.stdout.write(f"{project['name']} {project['version']}, Invoke {invoke.__version__}\n")

    def parse_core_args(self) -> None:
        """Read Invoke's own options, and print this project's completion script instead of Invoke's."""
        super().parse_core_args()
        if shell := self.args["print-completion-script"].value:
            try:
                sys.stdout.write(completion.script(shell))
            except UsageError as error:
                raise Exit(str(error), code=error.exit_code) from error
            raise Exit

    def parse_core(self, argv: list[str] | None) -> None:
        """Read Invoke's own options."""
        with _bad_usage():
            super().parse_core(argv)

    def parse_tasks(self) -> None:
        """Read the tasks and their options."""
        if asked := task_to_explain(self.core.unparsed, self.collection.task_names):
            self.args.help.value, self.core.unparsed = asked, []
        self.core.unparsed = with_left_out_names(self.core.unparsed, self._names_that_may_be_left_out())
        with _bad_usage():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """Print help, lists or completions, which replace tasks."""
        if self.args.complete.value:
            self.update_config()  # with the file of -f
            typed = with_left_out_names(
                completion.words_of(self.core.remainder), self._names_that_may_be_left_out()
            )
            found = completion.candidates(typed, self.collection, Context(self.config))
            sys.stdout.writelines(f"{one}\n" for one in found)
            raise Exit
        try:
            with _bad_usage():
                super().parse_cleanup()
        except Exit as end:
            if end.message and end.code == 1:  # a collection that --list does not know
                raise Exit(f"{end.message}\n{KNOWN}", code=EXIT_USAGE) from end
            raise

    def no_tasks_given(self) -> None:
        """List the tasks; Invoke would print its own options only."""
        self.list_tasks()
        sys.stdout.write(f"{HELP}\n")
        raise Exit

    def _names_that_may_be_left_out(self) -> dict[str, str]:
        """For each task, by all its names, the options whose names may be left out; empty for none."""
        return {
            name: getattr(self.collection[canonical], "may_follow", "")
            for canonical, aliases in self.collection.task_names.items()
            for name in (canonical, *aliases)
        }


def with_left_out_names(words: list[str], names: dict[str, str]) -> list[str]:
    """Add the names of options that were left out directly after their task.

    Args:
        words: the command line, such as `["secrets.log", "a.env"]`.
        names: for each task these options, such as `{"release.diff": "before after"}`; empty for none.
            One with a star, `{"app.restart": "workload*"}`, takes all words that follow.

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
            name = open_ones[0]
            result.append(f"--{name.removesuffix('*')}")
            open_ones = open_ones if name.endswith("*") else open_ones[1:]
        result.append(word)
    return result


def task_to_explain(words: Sequence[str], names: Iterable[str]) -> str:
    """The task in `TASK … --help`, or an empty string.

    Invoke would read --help as the value of a missing positional argument.
    """
    task = ""
    for before, word in pairwise(["", *words]):
        if word == "--help" or (word == "-h" and before == task):
            return task
        task = word if word in names else task
    return ""


@contextmanager
def _unusable_settings() -> Iterator[None]:
    """Explain what Invoke cannot merge; its own message would show all settings."""
    try:
        yield
    except AmbiguousMergeError:
        what = "Two sources of settings cannot be merged: a key is a section in one and a value in the other."
    except AmbiguousEnvVar as error:
        what = f"Two settings would be set by the same environment variable: {error}."
    else:
        return
    sys.stderr.write(f"{UsageError(what, '', LOOK_AT)}\n")
    sys.exit(EXIT_USAGE)


def _give_stdout_up() -> None:
    """Discard what Python flushes to stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _bad_usage() -> Iterator[None]:
    try:
        yield
    except ParseError as error:
        said = MISSING.sub(_missing, UNKNOWN.sub(_unknown, one_line(str(error))))
        raise Exit(f"{said}\n{KNOWN}", code=EXIT_USAGE) from error
    except ValueError as error:  # from Invoke's conversion of an option's value
        said = NO_NUMBER.sub(
            r"An option has the value \1, but should be a whole number.", one_line(str(error))
        )
        raise Exit(f"{said}\n{KNOWN}", code=EXIT_USAGE) from error


def _unknown(word: "re.Match[str]") -> str:
    return f"Unknown {'option' if word[1].startswith('-') else 'task'} '{word[1]}'."


def _missing(found: "re.Match[str]") -> str:
    names = re.sub("'([^']*)'", r"--\1", found["names"])
    return f"The task {found['task']} needs {names}."


PROGRAM = Program(name="lookit-orchestrator", binary="./inv", binary_names=["inv"], config_class=Config)

if __name__ == "__main__":
    PROGRAM.run()
