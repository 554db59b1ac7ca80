"""HTTP sessions for Google's APIs.

google-auth's AuthorizedSession also asks iamcredentials.googleapis.com, in a thread, from where the account
may be used: for the sandbox's accounts too, and a process that exits at that moment sometimes crashes.
"""

from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase

from tasks.lib.google.credentials import Tokens, credentials
from tasks.lib.settings.model import Google

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


class Authorization(AuthBase):
    """Adds a valid token and the quota project to each request."""

    def __init__(self, found: "Credentials") -> None:
        self.credentials = found
        self._tokens = Tokens(found)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authorise one request; a Failure where there is no token to be had, as of `Tokens`."""
        request.headers.update(self._tokens.headers())
        return request


class Session(requests.Session):
    """A session that follows no redirects, so that tokens are sent to the requested address only."""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send one request; a redirect is returned as the answer."""
        return super().request(*args, **{**options, "allow_redirects": False})


def session_of(found: "Credentials") -> Session:
    """A session that sends the token of these credentials."""
    session = Session()
    session.auth = Authorization(found)
    return session


def authorized_session(google: Google) -> Session:
    """A session that sends this process's token and renews it."""
    return session_of(credentials(google))
