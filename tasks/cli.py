"""What all tasks share, and the one place that turns expected errors into a message and an exit code."""

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import invoke
from invoke import Context, Exit
from invoke.exceptions import UncastableEnvVar

from tasks.lib.console import open_closed_streams
from tasks.lib.errors import Failure, UsageError, all_problems
from tasks.lib.files import real, refusal
from tasks.lib.process import leave_no_core
from tasks.lib.signals import exit_code, unwinding

if TYPE_CHECKING:
    from tasks.lib.deploy.hooks import Launcher
    from tasks.lib.settings.model import Settings
    from tasks.lib.settings.reader import Layer

ROOT = Path(__file__).resolve().parent.parent
SANDBOX_HELP = "Run against the sandbox on this machine (also LOOKIT_SANDBOX=1)."
ON, OFF = ("1", "true"), ("", "0", "false")  # the values of LOOKIT_SANDBOX, in upper or lower case

# The short options, the same in every task.  Options that destroy or reveal something have none.
LETTERS = {
    "archive": "a",
    "branch": "b",
    "commit": "c",
    "environment": "e",
    "file": "f",
    "follow": "f",
    "json": "j",
    "manifest": "m",
    "out": "o",
    "prefix": "p",
    "revision": "r",
    "sandbox": "s",
    "tag": "t",
}

# The options of all tasks that use a checkout of the application.
CHECKOUT_HELP = {
    "source": "The checkout of lookit-api (default: source.checkout in invoke.yaml, else this folder).",
    "commit": "The commit, a full SHA (default: COMMIT_SHA, else the HEAD of the checkout).",
    "tag": "The release tag (default: TAG_NAME).",
    "branch": "The branch of the commit (default: BRANCH_NAME, else the branch of the checkout).",
}

# Invoke's levels, lowest first, and their names for users.
CONFIG_LEVELS = (
    ("_system", "/etc/invoke.yaml"),
    ("_user", "~/.invoke.yaml"),
    ("_project", "invoke.yaml"),
    ("_env", "INVOKE_ variable"),
    ("_runtime", "invoke -f"),
    ("_overrides", "command line"),
    ("_modifications", "command line"),
)


class Executor(invoke.Executor):
    """Invoke's executor with this project's error handling; plain `invoke` finds it in invoke.yaml."""

    def execute(self, *tasks: Any) -> Any:
        """Run `tasks`; a Failure ends in its message and exit code, without a traceback."""
        leave_no_core()
        open_closed_streams()
        try:
            with unwinding():
                _check_variables(self.config)
                return super().execute(*tasks)
        except Failure as failure:
            raise Exit(str(failure), code=failure.exit_code) from failure
        except OSError as error:
            if refused := refusal(error):
                raise Exit(str(refused), code=refused.exit_code) from error
            raise
        except KeyboardInterrupt as interrupt:
            raise Exit(f"Stopped by {str(interrupt) or 'Ctrl-C'}.", code=exit_code(interrupt)) from interrupt


class Task(invoke.Task[Any]):
    """A task of this project."""

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """How Invoke reads an option, with this project's short options instead of Invoke's own choice."""
        found: dict[str, Any] = super().arg_opts(name, default, taken_names)
        if letter := LETTERS.get(name):
            found["names"].append(letter)
        return found


def task(*, may_follow: str = "", **options: Any) -> Callable[[Callable[..., None]], Task]:
    """Declare a task as `invoke.task` does, with the option `--sandbox`.

    Args:
        may_follow: options, separated by spaces, whose names may be left out with ./inv directly
            after the task: `secrets.log FILE`.  (Invoke's own positional arguments are always required.)
        options: passed on to `invoke.task`.

    """

    def declare(body: Callable[..., None]) -> Task:
        @functools.wraps(body)
        def run(c: Context, *args: Any, sandbox: bool = False, **kwargs: Any) -> None:
            c.config.in_sandbox = sandbox or _sandbox_variable()
            body(c, *args, **kwargs)

        signature = inspect.signature(body)
        sandbox_option = inspect.Parameter("sandbox", inspect.Parameter.KEYWORD_ONLY, default=False)
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), sandbox_option]
        )
        described = {**options, "help": {**options.get("help", {}), "sandbox": SANDBOX_HELP}}
        declared = cast("Task", invoke.task(**described, klass=Task, auto_shortflags=False)(run))
        declared.may_follow = may_follow  # type: ignore[attr-defined]
        return declared

    return declare


@functools.cache
def refuse_unreadable_settings(root: Path = ROOT) -> None:
    """Check invoke.yaml, and the file of `-f`, before plain `invoke` reads them; ./inv does it by itself.

    Invoke would end in a traceback where a file is empty or no YAML, of two equal keys take the last in
    silence, and go on in silence without what `-f` names.

    Raises:
        Exit: one is missing or cannot be read.

    """
    if getattr(sys.modules["__main__"].__spec__, "name", "") == "tasks.__main__":
        return
    from tasks.lib.settings.files import read_file, refuse_missing
    from tasks.lib.settings.reader import no_settings

    path, named = root / "invoke.yaml", _named_to_plain_invoke()
    try:
        if not path.exists():
            raise no_settings(root)
        _refuse_empty(path, read_file(path), "Restore it: git checkout -- invoke.yaml")
        if named is not None:
            refuse_missing(named)
            _refuse_empty(named, read_file(named), "Name another file with -f.")
    except UsageError as error:
        raise Exit(str(error), code=error.exit_code) from None


def _refuse_empty(path: "Path | str", values: dict[str, Any], next_step: str) -> None:
    if not values:
        raise UsageError(f"{path} is empty.", "", next_step)


def _named_to_plain_invoke() -> str | None:
    """The file of `-f` that plain `invoke` will read; None if there is none."""
    from invoke.main import program

    named = program.args.config.value if hasattr(program, "core") else None
    return cast("str | None", named or os.environ.get("INVOKE_RUNTIME_CONFIG"))


def settings(c: Context) -> "Settings":
    """The settings of this run.

    Raises:
        UsageError: some are not valid.
        Failure: `--sandbox` was given and no sandbox is up.

    """
    from tasks.lib.settings.reader import read

    return read(layers(c), ROOT)


def checkout_settings(c: Context) -> "Settings":
    """The settings of this checkout without the sandbox's: for tasks that start or stop it.

    Raises:
        UsageError: some are not valid.

    """
    from tasks.lib.settings.reader import read

    return read(checkout_layers(c), ROOT)


def application_source(source: str, *, containers: bool) -> Path | None:
    """The checkout of the application that a rehearsal is to run; none where it runs the sandbox's own.

    Raises:
        UsageError: no containers are to run.

    """
    if source and not containers:
        raise UsageError(
            "--source needs --containers.",
            "Simulated nodes run no application.",
            f"Add it: --containers --source {source}",
        )
    return real(Path.cwd() / source) if source else None


def layers(c: Context) -> "list[Layer]":
    """The sources of settings, lowest first, with the sandbox's last if `--sandbox` was given."""
    from tasks.lib.settings.reader import Layer

    found = checkout_layers(c)
    if in_sandbox(c):
        from sandbox.overlay import settings_overlay

        found.append(Layer("sandbox", settings_overlay(ROOT, found)))
    return found


def checkout_layers(c: Context) -> "list[Layer]":
    """The same without the sandbox's settings."""
    return _layers_of(c.config)


def launcher(c: Context) -> "Launcher":
    """What starts other tasks with the settings and the sandbox of this run."""
    from tasks.lib.deploy.hooks import Launcher

    return Launcher(settings_file(c), {"LOOKIT_SANDBOX": "1" if in_sandbox(c) else ""})


def settings_file(c: Context) -> "Path | None":
    """The file that `-f` named, or None."""
    named = getattr(c.config, "_runtime_path", None)
    return real(Path(str(named))) if named else None


def command_after_dashes() -> list[str]:
    """The words after `--` on the command line; Invoke itself keeps them as one text, without quotes."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def absolute(typed: str) -> str:
    """A path that a user typed, resolved from the current folder; empty stays empty."""
    return str(real(Path(typed))) if typed else ""


def sandbox_state(c: Context) -> "Path | None":
    """The folder of the sandbox that this run uses, or None if it uses Google."""
    if not in_sandbox(c):
        return None
    from sandbox.state import state_from_layers

    return state_from_layers(ROOT, layers(c)).folder


def in_sandbox(c: Context) -> bool:
    """Whether this run uses the sandbox."""
    return bool(c.config.in_sandbox)


def _sandbox_variable() -> bool:
    """Whether LOOKIT_SANDBOX asks for the sandbox.

    Raises:
        UsageError: it is neither true nor false; the cluster is never guessed.

    """
    said = os.environ.get("LOOKIT_SANDBOX", "")
    if said.lower() not in {*ON, *OFF}:
        raise UsageError(f"LOOKIT_SANDBOX is {said!r}, but should be 1 or 0.")
    return said.lower() in ON


def _layers_of(config: invoke.Config) -> "list[Layer]":
    from tasks.lib.settings.reader import Layer

    return [Layer(name, getattr(config, level)) for level, name in CONFIG_LEVELS]


def _check_variables(config: invoke.Config) -> None:
    """Refuse INVOKE_ variables that set nothing or cannot be converted: Invoke would end in a traceback."""
    if not any(name.startswith("INVOKE_") for name in os.environ):
        return
    from tasks.lib.settings.reader import explain, variable_problems

    if problems := variable_problems(os.environ, explain(_layers_of(config))):
        raise all_problems(
            "INVOKE_ variables are not valid.", problems, "`./inv settings` shows what can be set."
        )
    try:
        config.clone().load_shell_env()
    except (ValueError, UncastableEnvVar) as error:
        raise UsageError(
            "An INVOKE_ environment variable has a value of the wrong type.",
            str(error),
            "Run `env | grep INVOKE_` and compare with the types in invoke.yaml.",
        ) from error
