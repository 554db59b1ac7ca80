"""HTTP sessions that say to Google's APIs who this process is.

google-auth's own, AuthorizedSession, also asks iamcredentials.googleapis.com, in a thread, where the account
may be used from: of the sandbox's accounts too, and a process that ends meanwhile crashes now and then.
"""

from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase

from tasks.lib.google.credentials import Tokens, credentials

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from tasks.lib.settings.model import Google


class Authorization(AuthBase):
    """Adds a token that is valid now, and the project that pays, to each request."""

    def __init__(self, found: "Credentials") -> None:
        self.credentials = found
        self._tokens = Tokens(found)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authorise one request; a Failure where there is no token to be had, as of `Tokens`."""
        request.headers.update(self._tokens.headers())
        return request


class Session(requests.Session):
    """A session that follows no redirect: a token belongs to the address that was asked, and to no other."""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send one request; an answer that leads elsewhere is the answer."""
        return super().request(*args, **{**options, "allow_redirects": False})


def session_of(found: "Credentials") -> Session:
    """A session whose requests carry the token of these credentials."""
    session = Session()
    session.auth = Authorization(found)
    return session


def authorized_session(google: "Google") -> "Session":
    """A requests session that sends, and refreshes, this process's token."""
    return session_of(credentials(google))
