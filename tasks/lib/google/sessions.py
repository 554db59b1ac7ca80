"""HTTP sessions for Google's APIs.

google-auth's AuthorizedSession also asks iamcredentials.googleapis.com, in a thread, from where the account
may be used: for the sandbox's accounts too, and a process that exits at that moment sometimes crashes.
"""

from typing import Any

import requests
from requests.auth import AuthBase

from tasks.lib.google.credentials import Tokens, credentials
from tasks.lib.settings.model import Google


class Authorization(AuthBase):
    """Adds a valid token and the quota project to each request."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authorise one request; a Failure where there is no token to be had, as of `Tokens`."""
        request.headers.update(self.tokens.headers())
        return request


class Session(requests.Session):
    """A session that follows no redirects, so that tokens are sent to the requested address only."""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send one request; a redirect is returned as the answer."""
        return super().request(*args, **{**options, "allow_redirects": False})


def session_of(tokens: Tokens) -> Session:
    """A session that sends such a token."""
    session = Session()
    session.auth = Authorization(tokens)
    return session


def authorized_session(google: Google) -> Session:
    """A session that sends this process's token and renews it."""
    return session_of(Tokens(credentials(google)))
