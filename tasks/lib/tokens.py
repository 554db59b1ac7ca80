"""How google-auth asks Google for tokens: over the standard library, which every task has loaded anyway.

google-auth's own way is requests, which costs each process 0.05 s of processor for one short call.
"""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from google.auth import transport
from google.auth.exceptions import TransportError

SECONDS = 30.0


class Answer(transport.Response):
    """An answer as google-auth reads it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status, self._headers, self._data = status, headers, data

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, in lower case."""
        return self._headers

    @property
    def data(self) -> bytes:
        """The body."""
        return self._data


class Request(transport.Request):
    """Makes google-auth's calls; proxies are those of the environment (`https_proxy`, `no_proxy`).

    Args:
        time_limit: seconds that a call may take where google-auth names none.

    """

    def __init__(self, time_limit: float = SECONDS) -> None:
        self._time_limit = time_limit

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Answer:
        """Make one call.

        Raises:
            TransportError: there was no answer.

        """
        if urlsplit(url).scheme not in {"http", "https"}:
            raise TransportError(f"{url} is no address of a token service.")
        sent = dict(headers or {})
        request = urllib.request.Request(url, body, sent, method=method)  # noqa: S310 - looked at above
        limit = timeout or self._time_limit
        handlers = [urllib.request.HTTPSHandler(context=_trust())] if url.startswith("https:") else []
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=limit) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, _lower(refusal.headers), refusal.read())
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"{urlsplit(url).netloc}: {error}") from error


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _trust() -> ssl.SSLContext:
    """The authorities that the environment names, as requests and OpenSSL read it, else the public ones."""
    import certifi

    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return ssl.create_default_context(cafile=named or certifi.where())
