"""What runs and who is notified before and after a deploy: tasks of this repository, and a chat.

Hooks see the deploy's commit and branch as Cloud Build's variables, and no secret: nothing that was decrypted
is in the environment.  The webhook's address is a secret too, since whoever has it can post: it is read from
the environment, never printed, and taken out of what hooks see.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tasks.lib import process, signals
from tasks.lib.background import call
from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy.events import Notice, ReleaseResult, Tell
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.retry import TEMPORARY, Attempts, retry_after
from tasks.lib.settings.model import Environment, Settings

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 8.0
SECONDS_OF_AN_ATTEMPT: Final = 10.0
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
SIGNS: Final = {"start": ":hourglass_flowing_sand:", "success": ":white_check_mark:", "failure": ":x:"}
# What is said of each event, by what is done.
DEPLOY: Final = {"start": "is being deployed", "success": "is deployed", "failure": "could not be deployed"}
ROLLBACK: Final = {
    "start": "is being restored",
    "success": "is restored",
    "failure": "could not be restored",
}


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
    spoken: Mapping[str, str] = field(default_factory=lambda: DEPLOY)

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
            url = address(webhook.variable, os.environ)
            content = message(event, self.spoken, self.environment.name, self.variables, more)
            send(url, content, self.settings.time_limits.webhook)
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


def address(variable: str, environ: Mapping[str, str]) -> Secret:
    """The webhook's address; raises Failure where the variable holds none that is safe to use."""
    url = environ.get(variable, "").strip()
    if not url:
        raise Failure(f"Cannot notify: {variable} is not set.")
    if not _is_safe(url):
        raise Failure(f"Cannot notify: {variable} holds no https address.")
    return Secret(url.encode())


def _is_safe(url: str) -> bool:
    try:
        url.encode()
        parts = urlsplit(url)
    except ValueError:  # such as https://[your-webhook], which is no IPv6 address; its text is not told
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)


def message(
    event: str, spoken: Mapping[str, str], environment: str, variables: BuildVariables, more: str
) -> dict[str, object]:
    """What is sent: `text` for notifications and other receivers, `blocks` for Slack's window."""
    sign = SIGNS[event]
    release = (
        f"{variables.short_sha} ({variables.branch_name})"
        if variables.commit_sha
        else f"the state {ReleaseResult.BEFORE}"
    )
    first = f"{environment}: {release} {spoken[event]}"
    build = f"\nbuild {variables.build_id}" if variables.build_id else ""
    text = _escaped(first + (f": {more}" if more else "."))
    block = {"type": "section", "text": {"type": "mrkdwn", "text": f"{sign} {text}{_escaped(build)}"[:2900]}}
    return {"text": text, "blocks": [block]}


def send(url: Secret, content: Mapping[str, object], seconds: float) -> None:
    """Post a message, again where the answer is temporary.

    Raises Failure where it was refused, or nobody answered in time; the address is not named.
    """
    import urllib3

    attempts = Attempts(seconds, FIRST_PAUSE, LONGEST_PAUSE)
    body = json.dumps(content).encode()
    with urllib3.PoolManager(retries=False) as pool:
        while True:
            asked = 0.0
            try:
                answer = call(
                    pool.request, "POST", url.reveal().decode(), body=body, redirect=False,
                    headers={"Content-Type": "application/json"},
                    timeout=min(SECONDS_OF_AN_ATTEMPT, attempts.left()),
                )  # fmt: skip
                if answer.status < 300:
                    return
                why = f"It answered {answer.status}."
                if answer.status not in TEMPORARY:
                    break
                asked = retry_after(answer.headers.get("Retry-After"))
            except (urllib3.exceptions.HTTPError, OSError) as error:
                # Its text would name the address.
                why = f"The connection failed ({type(getattr(error, 'reason', None) or error).__name__})."
            pause = attempts.pause(asked)
            if pause is None:
                break
            signals.sleep(pause)
    raise Failure("The notification was not delivered.", why)


def _escaped(text: str) -> str:
    """Slack's own three characters, so that nothing in a message becomes a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
