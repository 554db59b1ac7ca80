"""What happens around a deploy or a roll back: hooks, and notifications.  Neither undoes what went well."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.lib.deploy import hooks, notifications
from tasks.lib.deploy.events import Notice, Tell
from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Around:
    """The surroundings of one deploy or roll back.

    Args:
        settings: which hooks, and whom to notify.
        environment: where.
        variables: what.
        launcher: how hooks are started.
        tell: is told what happens.
        spoken: what a notification says of each event.

    """

    settings: "Settings"
    environment: "Environment"
    variables: "BuildVariables"
    launcher: hooks.Launcher
    tell: Tell
    spoken: Mapping[str, str] = field(default_factory=lambda: notifications.DEPLOY)

    @contextmanager
    def course(self) -> Iterator[None]:
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
        fault = self._after("after_deploy")
        self.notify("success", fault)

    def before(self) -> None:
        """Run the hooks that may still stop the deploy.

        Raises:
            Failure: one failed.

        """
        try:
            self._run("before_deploy")
        except Failure as failure:
            failure.what += " Nothing was changed."
            raise

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
            fault = f"{failure.what} What was done stays as it is."
            self.tell(Notice(f"ATTENTION: {fault}"))
            return fault
        return ""

    def _run(self, when: str) -> None:
        commands = getattr(self.settings.deploy.hooks, when)
        env = {**self.variables.as_environment(), "LOOKIT_ENVIRONMENT": self.environment.name}
        if variable := self.settings.deploy.webhook.variable:
            env[variable] = ""
        for command in commands:
            self.tell(Notice(f"hook {when}: {command}"))
            hooks.run(self.launcher, when, [command], env, self.settings.root, self.settings.time_limits.hook)
