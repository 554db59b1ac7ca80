"""HTTP with a registry: the login that it asks for, time-outs, and retries of what may be sent twice.

Every request of the distribution API that this project sends may be repeated: reads, and writes of content
under its own digest or under a tag that is meant to end up with that content.
"""

import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tasks.lib import console, signals
from tasks.lib.background import call
from tasks.lib.console import spoken
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.google.answers import object_in
from tasks.lib.image.credentials import Login, is_google
from tasks.lib.image.refusals import is_lasting, when_unreachable
from tasks.lib.retry import TEMPORARY, Attempts, retry_after
from tasks.lib.settings.values import is_this_machine

if TYPE_CHECKING:
    from requests import Response, Session

NO_PROXY = {"http": "", "https": ""}
FIRST_PAUSE = 0.2
A_LINE_EVERY = 10.0
HTTPS = 443


@dataclass(frozen=True)
class Exchange:
    """One request: its URL is absolute, or a path below the registry's address."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Wire:
    """A session with the registry at `address`; `find_login` is called when that first asks who is there.

    `attempt_limit` are seconds for one try, `limit` for all tries of a request; `ca_file` is trusted besides
    the public authorities.
    """

    def __init__(
        self, address: str, find_login: Callable[[], Login | None], attempt_limit: float, limit: float,
        ca_file: str = "",
    ) -> None:  # fmt: skip
        self._address = address
        self._find_login = find_login
        self._attempt_limit = attempt_limit
        self._limit = limit
        self._session = _session()
        if ca_file:
            trust(self._session, ca_file)
        self._tokens: dict[str, str] = {}
        self._told_until = 0.0

    def send(self, exchange: Exchange) -> "Response":
        """Send a request, log in where the registry asks for it, and return whatever it answers in the end.

        Raises Failure where the registry cannot be reached, TimedOut where it kept failing until the limit.
        """
        refusal = self._retried(exchange)
        if refusal.status_code != 401 or not self._is_own(exchange.url):
            return refusal
        challenge = refusal.headers.get("WWW-Authenticate", "")
        was_known = challenge in self._tokens
        answer = self._signed(exchange, challenge)
        if answer is not None and answer.status_code == 401 and was_known:  # tokens last for minutes
            self._tokens.pop(challenge, None)
            answer = self._signed(exchange, challenge)
        return refusal if answer is None else answer

    def _signed(self, exchange: Exchange, challenge: str) -> "Response | None":
        """Send a request with what answers the challenge; None where there is no way to."""
        token = self._authorization(challenge)
        if not token:
            return None
        headers = {**exchange.headers, "Authorization": token}
        return self._retried(Exchange(exchange.method, exchange.url, headers, exchange.body))

    def _is_own(self, url: str) -> bool:
        """Whether an address is the registry's: one that it sends an upload to may be another's."""
        own, asked = urlsplit(self._address), urlsplit(urljoin(self._address, url))
        return (own.scheme, own.netloc) == (asked.scheme, asked.netloc)

    def _retried(self, exchange: Exchange) -> "Response":
        import requests

        started = time.monotonic()
        attempts = Attempts(self._limit, FIRST_PAUSE)
        while True:
            try:
                answer = self._once(exchange, min(self._attempt_limit, max(attempts.left(), 0.1)))
            except (requests.ConnectionError, requests.Timeout) as error:
                pause = None if is_lasting(str(error)) else attempts.pause()
                if pause is None:
                    raise self._unreachable(error) from error
                trouble = "cannot be reached"
            else:
                if answer.status_code not in TEMPORARY:
                    return answer
                pause = attempts.pause(retry_after(answer.headers.get("Retry-After")))
                if pause is None:
                    return answer
                trouble = f"answers {answer.status_code} {answer.reason}"
            self._tell(trouble, started, pause)
            signals.sleep(pause)

    def _tell(self, trouble: str, started: float, wait: float) -> None:
        """Say about every ten seconds that a request is tried again; several at once say it once."""
        after = time.monotonic() + wait
        if after - max(started, self._told_until) >= A_LINE_EVERY:
            self._told_until = after
            left = started + self._limit - time.monotonic()
            console.say(f"The registry at {self._address} {trouble}; trying again for up to {spoken(left)} …")

    def _once(self, exchange: Exchange, seconds: float) -> "Response":
        url = urljoin(self._address, exchange.url)
        return call(
            self._session.request,
            exchange.method,
            url,
            headers=dict(exchange.headers),
            data=exchange.body or None,
            timeout=seconds,
            # What is on this machine is asked through no proxy, as Docker does it.
            proxies=NO_PROXY if is_this_machine(urlsplit(url).hostname or "") else None,
            # Without this, requests puts a password of ~/.netrc in the place of a token.
            auth=lambda prepared: prepared,
        )

    def _authorization(self, challenge: str) -> str:
        """The Authorization header that answers a challenge; empty where there is no way to."""
        if challenge not in self._tokens:
            self._tokens[challenge] = self._answer(challenge)
        return self._tokens[challenge]

    def _answer(self, challenge: str) -> str:
        login = self._find_login()
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return _basic(login)
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme.lower() != "bearer" or "realm" not in asked:
            return ""
        if wrong := misplaced(self._address, asked["realm"]):
            raise Failure(
                f"The registry at {self._address} wants the login at {asked['realm']}; it was not sent.",
                wrong,
                "Check that image.repository in invoke.yaml names the right registry.",
            )  # fmt: skip
        answer = self._retried(token_request(asked, login))
        if not answer.ok:
            return ""
        given = object_in(answer, f"What gives tokens for the registry at {self._address}")
        return f"Bearer {given.get('token') or given.get('access_token')}"

    def _unreachable(self, error: Exception) -> Failure:
        import requests

        what = f"The registry at {self._address} cannot be reached."
        if not isinstance(error, requests.Timeout):
            return Failure(what, str(error), when_unreachable(self._address, str(error)))
        return TimedOut(
            what,
            f"No answer within {self._attempt_limit:g} s (time_limits.registry_attempt), tried for "
            f"{self._limit:g} s (time_limits.registry): {error}",
            f"{when_unreachable(self._address, '')} Where it is only slow, raise both.",
        )


def misplaced(address: str, realm: str) -> str:
    """Why a registry's login is not for the address that it names for tokens, or an empty text."""
    registry, tokens = urlsplit(address), urlsplit(realm)
    if registry.scheme == "https" and tokens.scheme != "https":
        return "The registry is reached over https, and that address is not."
    if is_google(registry.netloc) and not is_google(tokens.hostname or ""):
        return "A token of Google's is for Google's registries alone."
    return ""


def _session() -> "Session":
    import requests

    class WithoutTokenElsewhere(requests.Session):
        """Follows redirects, as a registry's to its storage, without the token, which is for the registry."""

        def should_strip_auth(self, _old: str, _new: str) -> bool:
            """Whether a redirect loses the Authorization header: always."""
            return True

    return WithoutTokenElsewhere()


def token_request(asked: Mapping[str, str], login: Login | None) -> Exchange:
    """What asks for a token: https://distribution.github.io/distribution/spec/auth/token/."""
    query = "&".join(f"{name}={asked[name]}" for name in ("service", "scope") if name in asked)
    headers = {"Authorization": _basic(login)} if login else {}
    return Exchange("GET", f"{asked['realm']}?{query}", headers)


def _basic(login: Login | None) -> str:
    """The header with name and password; empty where there are none."""
    if login is None:
        return ""
    return f"Basic {b64encode(login.user.encode() + b':' + login.password.reveal()).decode()}"


def speaks_tls(host: str, seconds: float) -> bool:
    """Whether what listens at `host` speaks TLS, which Docker asks for first on this machine.

    Nothing is sent, so no certificate is checked here; each request checks it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without authorities: to read them takes longest
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = urlsplit(f"https://{host}")
    try:
        with (
            socket.create_connection((url.hostname or "", url.port or HTTPS), seconds) as line,
            context.wrap_socket(line, server_hostname=url.hostname),
        ):
            return True
    except OSError:
        return False


def trust(session: "Session", ca_file: str) -> None:
    """Have a session trust the certificate authorities in `ca_file` besides the public ones."""
    from requests.adapters import HTTPAdapter

    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise UsageError(
            f"The registry's certificate authority cannot be read from {ca_file}.",
            str(error),
            "Name a file with PEM certificates in registry.ca_file (INVOKE_REGISTRY_CA_FILE=FILE).",
        ) from error

    class Trusting(HTTPAdapter):
        """Checks certificates with that context, through a proxy too."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
            """The pool of connections."""
            return super().init_poolmanager(*args, **kwargs, ssl_context=context)

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            """The pool of connections through a proxy."""
            return super().proxy_manager_for(*args, **kwargs, ssl_context=context)

    session.mount("https://", Trusting())
