"""The Cloud SQL Admin API: operations on one instance, begun and followed, and what its refusals mean.

Source: https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1/operations/get
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tasks.lib import signals
from tasks.lib.background import call
from tasks.lib.google.answers import refusal_words
from tasks.lib.retry import TEMPORARY, Attempts
from tasks.lib.settings.model import Database, Settings

if TYPE_CHECKING:
    from requests import Response, Session

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 10.0
BUSY: Final = "operationInProgress"
TOO_OFTEN: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
NOT_ENABLED: Final = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})


@dataclass(frozen=True)
class Refusal:
    """What the API answered instead: its status, its words, and Google's short reasons."""

    status: int
    words: str
    reasons: frozenset[str] = frozenset()

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in TEMPORARY or bool(self.reasons & {BUSY, *TOO_OFTEN})


@dataclass(frozen=True)
class Late:
    """The time is over; how far it came."""

    status: str


Answer = Mapping[str, Any]


class Instance:
    """One instance; `busy` is called once where it is busy with another operation."""

    def __init__(
        self, settings: Settings, database: Database, session: "Session", busy: Callable[[], None]
    ) -> None:
        self._root = f"{settings.google.sql_admin}/v1/projects/{database.project}"
        self._instance = f"{self._root}/instances/{database.name}"
        self._session, self._busy = session, busy
        self._attempt, self.limit = settings.time_limits.backup_attempt, settings.time_limits.backup

    def get(self, resource: str = "") -> Answer | Refusal:
        """Read the instance, or something of it."""
        return self._ask("GET", self._instance + resource, None)

    def start(self, resource: str, body: object) -> Answer | Refusal | Late:
        """Begin an operation as soon as the instance has time for it."""
        said = False
        for _ in self._pauses():
            answer = self._ask("POST", f"{self._instance}/{resource}", body)
            if not isinstance(answer, Refusal) or not answer.passes:
                return answer
            if BUSY in answer.reasons and not said:
                said = True
                self._busy()
            last = answer
        return Late(f"It answered {last.status}: {last.words}")

    def follow(self, operation: str) -> Answer | Refusal | Late:
        """Wait until an operation has ended, well or not."""
        url, status = f"{self._root}/operations/{operation}", "unknown"
        for _ in self._pauses():
            answer = self._ask("GET", url, None)
            if isinstance(answer, Refusal):
                if not answer.passes:
                    return answer
                status = f"unknown, the API answers {answer.status}"
                continue
            status = str(answer.get("status", "unknown"))
            if status == "DONE":
                return answer
        return Late(status)

    def _pauses(self) -> Iterator[None]:
        """Try at once, then with growing pauses until the time is over."""
        attempts = Attempts(self.limit, FIRST_PAUSE, LONGEST_PAUSE)
        yield
        while (pause := attempts.pause()) is not None:
            signals.sleep(pause)
            yield

    def _ask(self, method: str, url: str, body: object) -> Answer | Refusal:
        import requests

        try:
            answer = call(self._session.request, method, url, json=body, timeout=self._attempt)
            return answer.json() if answer.status_code == 200 else refusal(answer)
        except requests.RequestException as error:  # an answer that is no JSON is one too
            return Refusal(503, f"{type(error).__name__}: {error}")


def refusal(answer: "Response") -> Refusal:
    """Read an error as Google's APIs spell it, the older reasons and the newer details."""
    reasons: set[str] = set()
    try:
        error = answer.json()["error"]
        reasons = {str(one.get("reason")) for one in [*error.get("errors", []), *error.get("details", [])]}
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return Refusal(answer.status_code, refusal_words(answer), frozenset(reasons))


def errors_of(operation: Answer) -> str:
    """Why an operation failed, a line an error; empty if it did not."""
    errors = (operation.get("error") or {}).get("errors") or []
    return "\n".join(f"{one.get('code', '')}: {one.get('message', '')}".strip(": ") for one in errors)


def with_flags(command: str, database: Database) -> str:
    """A command of gcloud about an instance."""
    return f"{command} --instance={database.name} --project={database.project}"


def how_to_enable(project: str) -> tuple[str, str]:
    """What it means that the API is off, and the command that enables it."""
    return (
        f"The Cloud SQL Admin API is not enabled in project {project}",
        f"gcloud services enable sqladmin.googleapis.com --project={project}",
    )
