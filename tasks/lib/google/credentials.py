"""The credentials for Google: the service account's key file in the settings, else ADC.

ADC is Application Default Credentials, https://cloud.google.com/docs/authentication/application-default-credentials
"""

import datetime
import json
import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from tasks.lib.background import call
from tasks.lib.errors import Failure
from tasks.lib.settings.model import Google

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

# Roles in GKE are bound to a service account's e-mail address.  GKE sees that only if the token has the scope
# userinfo.email, else a number: https://cloud.google.com/kubernetes-engine/docs/how-to/role-based-access-control
SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
)
LOG_IN = "Run `gcloud auth application-default login`, or point GOOGLE_APPLICATION_CREDENTIALS at a key file."

WRONG_FORM = "The credentials file is not a JSON object, or one of its fields has the wrong type."
QUOTES = "could not be converted"  # google-auth's message after a value that it quotes

SECONDS: Final = 30.0  # for one answer of a token service
# After an error the token service is not asked for this many seconds while the current token is valid.
PAUSE: Final = 30.0
_parsing = threading.Lock()


class Tokens:
    """A token that is always valid: it is renewed shortly before it expires, by one thread at a time.

    Threads that wait for it share the result: if the service hangs, they do not wait for the limit one by
    one.

    Every method raises a Failure if Google refuses to issue one, or its token service does not answer.
    """

    def __init__(self, found: "Credentials", seconds: float = SECONDS) -> None:
        self.credentials, self._seconds = found, seconds
        self._lock = threading.Lock()
        self.attempts = 0
        self._failure: Failure | None = None
        self._again = 0.0

    def __call__(self) -> str:
        """A valid bearer token; empty for credentials without one."""
        before = self.attempts
        if self._lock.locked() or self._is_due():
            call(self._renew, before, self._is_due)
        return str(self.credentials.token or "")

    def headers(self) -> dict[str, str]:
        """Headers with a valid token and the quota project."""
        self()
        named: dict[str, str] = {}
        self.credentials.apply(named)
        return named

    def renew(self, before: int) -> None:
        """Get a new token, unless there was an attempt after number `before`."""
        call(self._renew, before, lambda: True)

    def _renew(self, before: int, is_due: Callable[[], bool]) -> None:
        with self._lock:
            if is_due():
                self._attempt(before)

    def _is_due(self) -> bool:
        if self.credentials.valid:
            return False
        return time.monotonic() >= self._again or not _has_not_expired(self.credentials)

    def _attempt(self, before: int) -> None:
        """Renew it, or use the result of another thread's attempt after `before`."""
        if self.attempts == before:
            self._failure = None
            try:
                refresh(self.credentials, self._seconds)
                self._again = time.monotonic() + PAUSE
            except Failure as failure:
                self._failure = failure
            self.attempts += 1
        if one := self._failure:  # a separate exception for each thread
            raise type(one)(one.what, one.why, one.next_step) from one


def credentials(google: Google) -> "Credentials":
    """The service account's key file in the settings, else Application Default Credentials.

    Raises Failure where there are none, or their file is not valid.
    """
    from google.auth.exceptions import GoogleAuthError

    try:
        found = _of_key_file(google.credentials_file) if google.credentials_file else call(_default)
    except (GoogleAuthError, OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        # google-auth does not check the file's form, and quotes a private key that is a list of lines.
        is_said = isinstance(error, GoogleAuthError | OSError | ValueError) and QUOTES not in str(error)
        why = str(error) if is_said else WRONG_FORM
        raise Failure("No credentials for Google Cloud were found.", why, LOG_IN) from error
    if google.quota_project and hasattr(found, "with_quota_project"):
        found = found.with_quota_project(google.quota_project)
    return found


def _of_key_file(path: str) -> "Credentials":
    """New credentials, without a token, of the account in a key file."""
    text = Path(path).read_text(encoding="utf-8")
    with _parsing:  # a second thread waits for the first one's result
        account = _account(text)
    return cast("Credentials", account.with_scopes(SCOPES))


@lru_cache(maxsize=4)
def _account(text: str) -> Any:
    """The account in the text of a key file; checking its key takes longer than a request."""
    from google.oauth2.service_account import Credentials as ServiceAccount

    return ServiceAccount.from_service_account_info(json.loads(text))


def _default() -> "Credentials":
    from google.auth import default

    found, _ = default(scopes=SCOPES)
    return with_our_scopes(found)


def with_our_scopes(found: "Credentials") -> "Credentials":
    """The credentials with the scopes that a deploy needs, even if their file names others.

    A user's credentials have the scopes of the log-in; `gcloud auth application-default login` asks for both.
    """
    from google.auth.credentials import Scoped

    if not isinstance(found, Scoped):
        return found
    return cast("Credentials", found.with_scopes(SCOPES))  # type: ignore[no-untyped-call]


def refresh(found: "Credentials", seconds: float = SECONDS) -> None:
    """Fetch a token; if the service fails, keep the current one while it is valid.

    Raises Failure where Google refuses to issue one, or its token service does not answer.
    """
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request

    from tasks.lib.google.sessions import Session

    try:
        call(found.refresh, partial(Request(Session()), timeout=seconds))
    except GoogleAuthError as error:
        if not isinstance(error, TransportError) and not error.retryable:
            raise Failure("Google does not accept your credentials.", str(error.args[0]), LOG_IN) from error
        if not _has_not_expired(found):
            raise Failure(
                "Google's token service does not answer.", str(error),
                "Check the network, a proxy or VPN; `./inv doctor` shows more.",
            ) from error  # fmt: skip


def _has_not_expired(found: "Credentials") -> bool:
    """Whether the token is still valid: google-auth asks for a new one some minutes before it expires."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    return bool(found.token and found.expiry and now < found.expiry)
