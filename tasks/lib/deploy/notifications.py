"""Telling a chat of a deploy: a message in the form that Slack's webhooks take, sent again while it may help.

The address is a secret: whoever has it can post.  It is read from the environment, and never printed.
"""

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from tasks.lib import signals
from tasks.lib.background import call
from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy.events import ReleaseResult
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.retry import TEMPORARY, Attempts, retry_after

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
