"""Tasks of this repository that run before and after a deploy, as processes of their own.

They see the deploy's commit and branch as Cloud Build's variables, and no secret: nothing that was decrypted
is in the environment, and the notification's address is taken out of it.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.lib import process
from tasks.lib.errors import Failure


@dataclass(frozen=True)
class Launcher:
    """How a task of this repository is started as this one was.

    Args:
        settings_file: what `-f` named, or None.
        variables: those that say where it runs, such as LOOKIT_SANDBOX.

    """

    settings_file: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    def argv(self, command: str) -> tuple[str, ...]:
        """The program for a hook such as `release.sentry --branch develop`."""
        core = ("-f", str(self.settings_file)) if self.settings_file else ()
        return (sys.executable, "-m", "tasks", *core, *shlex.split(command))


def run(
    launcher: Launcher, when: str, commands: Sequence[str], env: Mapping[str, str], root: Path, seconds: float
) -> None:
    """Run the hooks of one moment one after the other; the first that fails is the last.

    Args:
        launcher: how they are started.
        when: before_deploy and so on, for messages.
        commands: task names with their options.
        env: variables for them.
        root: the checkout.
        seconds: how long each may take.

    Raises:
        Failure: one failed.
        TimedOut: one took too long.

    """
    for command in commands:
        code = process.stream(
            launcher.argv(command), cwd=root, env={**launcher.variables, **env},
            time_limit=seconds, to_stderr=True,
        )  # fmt: skip
        if code:
            raise Failure(
                f"The hook `{command}` ({when}) failed with exit code {code}.",
                "What it said is above.",
                f"Run it by itself: ./inv {command}; deploy.hooks in invoke.yaml names the hooks.",
            )
