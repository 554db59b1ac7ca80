"""HTTP sessions that say to Google's APIs who this process is.

google-auth's own, AuthorizedSession, also asks iamcredentials.googleapis.com, in a thread, where the account
may be used from: of the sandbox's accounts too, and a process that ends meanwhile crashes now and then.
"""

from typing import TYPE_CHECKING

import requests
from requests.auth import AuthBase

from tasks.lib.credentials import Tokens

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


class Authorization(AuthBase):
    """Adds a token that is valid now, and the project that pays, to each request.

    Args:
        found: who this process is.

    """

    def __init__(self, found: "Credentials") -> None:
        self.credentials = found
        self._tokens = Tokens(found)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Authorise one request.

        Raises:
            Failure: Google refuses to issue a token, or its token service does not answer.

        """
        self._tokens()
        self.credentials.apply(request.headers)
        return request


def session_of(found: "Credentials") -> requests.Session:
    """A session whose requests carry the token of these credentials."""
    session = requests.Session()
    session.auth = Authorization(found)
    return session
