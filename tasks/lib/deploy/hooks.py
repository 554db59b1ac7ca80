"""What runs before and after a deploy: tasks of this repository, each a process, and notifications.

Hooks see the deploy's commit and branch as Cloud Build's variables, and no secret: nothing that was decrypted
is in the environment, and the notification's address is taken out of it.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.lib import process
from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import notifications
from tasks.lib.deploy.events import Notice, Tell
from tasks.lib.errors import Failure
from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Launcher:
    """How a task of this repository is started as this one was."""

    settings_file: Path | None = None  # what `-f` named, or None
    # Those that say where it runs, such as LOOKIT_SANDBOX.
    variables: Mapping[str, str] = field(default_factory=dict)

    def argv(self, command: str) -> tuple[str, ...]:
        """The program for a hook such as `release.sentry --branch develop`."""
        core = ("-f", str(self.settings_file)) if self.settings_file else ()
        return (sys.executable, "-m", "tasks", *core, *shlex.split(command))


@dataclass(frozen=True)
class Hooks:
    """What runs and who is notified before and after one deploy or rollback; none of it undoes the deploy."""

    settings: Settings
    environment: Environment
    variables: BuildVariables
    launcher: Launcher
    tell: Tell
    # What a notification says of each event.
    spoken: Mapping[str, str] = field(default_factory=lambda: notifications.DEPLOY)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Notify, and run the hooks for how what is inside ended."""
        self.notify("start")
        try:
            yield
        except Failure as failure:
            self._after("after_failure")
            self.notify("failure", failure.what)
            raise
        except KeyboardInterrupt:
            self.notify("failure", "It was interrupted.")
            raise
        problem = self._after("after_deploy")
        self.notify("success", problem)

    def before(self) -> None:
        """Run the hooks that may still stop the deploy; raises Failure where one failed."""
        try:
            self._run("before_deploy")
        except Failure as failure:
            raise failure.retold(what=f"{failure.what} Nothing was changed.") from failure

    def notify(self, event: str, more: str = "") -> None:
        """Tell whoever is to be told of this event; a failure is only told here."""
        webhook = self.settings.deploy.webhook
        if not webhook.variable or event not in webhook.events:
            return
        try:
            url = notifications.address(webhook.variable, os.environ)
            content = notifications.message(event, self.spoken, self.environment.name, self.variables, more)
            notifications.send(url, content, self.settings.time_limits.webhook)
        except Failure as failure:
            self.tell(Notice(f"{failure.what} {failure.why}".strip()))

    def _after(self, when: str) -> str:
        """Run the hooks for how it ended; returns what failed: the deploy's own end stays the news."""
        try:
            self._run(when)
        except Failure as failure:
            problem = f"{failure.what} This does not undo the deploy."
            self.tell(Notice(f"ATTENTION: {problem}"))
            return problem
        return ""

    def _run(self, when: str) -> None:
        commands = getattr(self.settings.deploy.hooks, when)
        env = {**self.variables.as_environment(), "LOOKIT_ENVIRONMENT": self.environment.name}
        if variable := self.settings.deploy.webhook.variable:
            env[variable] = ""
        for command in commands:
            self.tell(Notice(f"hook {when}: {command}"))
            code = process.stream(
                self.launcher.argv(command), cwd=self.settings.root, env={**self.launcher.variables, **env},
                time_limit=self.settings.time_limits.hook, to_stderr=True,
            )  # fmt: skip
            if code:
                raise Failure(
                    f"The hook `{command}` ({when}) failed with exit code {code}.",
                    "Its output is above.",
                    f"Run it by itself: ./inv {command}; deploy.hooks in invoke.yaml names the hooks.",
                )
