"""A thin client for the Kubernetes API: JSON in, JSON out, one pool of connections, retries that are safe.

It speaks in paths and plain dicts, because rendered manifests are dicts and stay so.  docs/decisions/
says why it is not one of the typed clients: they cost more than the server does.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from tasks.lib import signals
from tasks.lib.background import Background, call
from tasks.lib.cluster.endpoint import Endpoint, cause, pools_to, transport_errors
from tasks.lib.cluster.errors import ApiError, Unreachable, api_error, is_permanent, object_in
from tasks.lib.retry import TEMPORARY, Attempts, retry_after

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

Json = dict[str, Any]
FIELD_MANAGER: Final = "lookit-orchestrator"
JSON_TYPE: Final = "application/json"
APPLY_TYPE: Final = "application/apply-patch+yaml"  # JSON is YAML
PAGE: Final = 500
SHOWN: Final = 200  # characters of an answer that is not an API server's
MOMENT: Final = 2.0

# What YAML reads otherwise than JSON, or not at all, where it is not escaped.
ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
FORGETFUL: Final = re.compile(r'is forbidden: User ".*" cannot ')


@dataclass(frozen=True)
class Patience:
    """How long to wait for the server, in seconds: for one try, and for all tries together."""

    attempt: float
    total: float


# For what can be done without, rather than wait for a server that does not answer.
HURRIED: Final = Patience(5, 10)


class Api:
    """An API server, as the holder of a token sees it.  Safe to use from several threads.

    `token` returns a bearer token that is valid now, `temporary` says whether a refusal may be tried again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: Callable[[], str],
        patience: Patience,
        temporary: Callable[[ApiError], bool] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.patience = patience
        self._token = token
        self._temporary = temporary or _is_temporary
        self._pools = pools_to(endpoint)
        self._pool = self._connections()
        self._closing = signals.Event()
        self._streams: set[BaseHTTPResponse] = set()

    def request(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: Json | list[Json] | None = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
    ) -> Json:
        """Ask, and again while the error may be temporary: every call of this project may be repeated.

        `doing` says it in words, for an error message: `apply Deployment web`.

        Raises:
            ApiError: the server refused.
            Unreachable: no answer within the patience.

        """
        attempts = Attempts(self.patience.total)
        headers = {"Accept": accept, "Content-Type": content_type}
        data = encoded(body) if body is not None else None
        while True:
            asked = 0.0
            try:
                response = self._sent(method, with_query(path, query), headers, data)
                if response.status < 300:
                    return self._decoded(response.data)
                refusal = api_error(doing, response.status, response.data)
                if not self._temporary(refusal):
                    raise refusal
                problem: ApiError | Unreachable = refusal
                asked = retry_after(response.headers.get("Retry-After"))
            except transport_errors() as error:
                problem = Unreachable(self.endpoint.server, cause(error))
            pause = attempts.pause(asked)
            if pause is None or self._closing.wait(pause):
                raise problem

    def get(self, path: str, *, doing: str, query: Mapping[str, str] | None = None) -> Json:
        """Read one object, or whatever is at `path`."""
        return self.request("GET", path, doing=doing, query=query)

    def list(
        self, path: str, *, doing: str, query: Mapping[str, str] | None = None
    ) -> tuple["list[Json]", str]:
        """Read a whole collection, page by page; returns its items and its resource version."""
        items: list[Json] = []
        following = ""
        while True:
            page = {**(query or {}), "limit": str(PAGE), **({"continue": following} if following else {})}
            try:
                answer = self.get(path, doing=doing, query=page)
            except ApiError as error:
                if error.status != 410 or not following:
                    raise
                items, following = [], ""  # the pages expired on the way: start again
                continue
            items += answer.get("items") or []
            following = answer["metadata"].get("continue") or ""
            if not following:
                return items, answer["metadata"]["resourceVersion"]

    def apply(self, path: str, body: Json, *, doing: str, query: Mapping[str, str] | None = None) -> Json:
        """Apply an object server-side as this project's field manager; `query` adds dryRun or force."""
        asked = applying(query or {})
        return self.request("PATCH", path, doing=doing, query=asked, body=body, content_type=APPLY_TYPE)

    def authorization(self) -> str:
        """What the header of that name says."""
        return f"Bearer {self._token()}"

    def lines(self, path: str, *, query: Mapping[str, str], idle: float) -> Iterator[bytes]:
        """Stream the lines of a watch or a log until the server ends it, or says nothing for `idle` seconds.

        Raises:
            ApiError: the server refused.
            Unreachable: the connection failed or broke.

        """
        try:
            response = call(self._send, "GET", with_query(path, query), {"Accept": "*/*"}, None, idle)
            if response.status >= 300:
                raise api_error(f"stream {path}", response.status, response.data)
            self._streams.add(response)
            try:
                yield from _split(response, self._closing)
            finally:
                self._streams.discard(response)
                _cut_short(response)
                response.close()
        except transport_errors() as error:
            raise Unreachable(self.endpoint.server, cause(error)) from error

    def patient(self, patience: Patience) -> "Api":
        """The same server and credentials with other time-outs."""
        return Api(self.endpoint, self._token, patience, self._temporary)

    def assured(self) -> "Api":
        """The same server once its permissions were checked: refusals then are temporary.

        An API server that has just started refuses everyone until it has read its roles.
        """
        return Api(self.endpoint, self._token, self.patience, _is_temporary_when_assured)

    def close(self) -> None:
        """End retries and streams that other threads are in, and drop the connections."""
        self._closing.set()
        for stream in list(self._streams):
            _cut_short(stream)
        self._pools.clear()
        self._pool = self._connections()

    def _decoded(self, data: bytes) -> Json:
        """The answer.

        Raises:
            Unreachable: it is no JSON object: a proxy or a login page may have answered instead.

        """
        answer = object_in(data or b"{}")
        if answer is None:
            raise self._replaced(data.decode(errors="replace").strip())
        return answer

    def _replaced(self, said: str) -> Unreachable:
        why = f"Something other than an API server answered: {said[:SHOWN]}"
        return Unreachable(self.endpoint.server, why)

    def _connections(self) -> "HTTPConnectionPool":
        """The connections to the one server: to look them up each time is a sixth of a request's cost."""
        return self._pools.connection_from_url(self.endpoint.server)

    def _sent(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> "BaseHTTPResponse":
        """Send it in another thread, so that a signal ends the waiting.

        A write in progress gets a moment more, so that what follows, such as releasing the lock, sees it.
        """
        sending = Background(partial(self._send, method, path, headers, data))
        try:
            return sending.wait()
        except KeyboardInterrupt:
            if method != "GET":
                sending.is_done(MOMENT)
            raise

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        idle: float | None = None,
    ) -> "BaseHTTPResponse":
        from urllib3 import Timeout

        streaming = idle is not None
        response = self._pool.urlopen(
            method, path, body=body,
            headers={**headers, "Authorization": self.authorization(), "User-Agent": FIELD_MANAGER},
            timeout=Timeout(connect=self.patience.attempt, read=idle if streaming else self.patience.attempt),
            preload_content=not streaming, retries=False, redirect=False, assert_same_host=False,
        )  # fmt: skip
        if elsewhere := response.get_redirect_location():
            response.close()
            raise self._replaced(f"it redirects to {elsewhere}")
        return response


def _is_temporary_when_assured(error: ApiError) -> bool:
    """What a starting server says; admission and quota also answer 403, but in other words."""
    return _is_temporary(error) or error.status == 401 or bool(FORGETFUL.search(error.message))


def _is_temporary(error: ApiError) -> bool:
    return error.status in TEMPORARY and not is_permanent(error.message)


def applying(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an apply: whose it is, and that unknown fields are refused."""
    return {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **query}


def encoded(body: Json | list[Json]) -> bytes:
    """JSON that is YAML too, as which the server reads what is applied.

    YAML does not know the two escapes of which JSON makes one character beyond the first 65,536, an emoji.
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def with_query(path: str, query: Mapping[str, str] | None) -> str:
    """A path with parameters, if there are any."""
    return f"{path}?{urlencode(query)}" if query else path


def _cut_short(response: "BaseHTTPResponse") -> None:
    """End a stream that another thread may be reading: to close it would wait for that."""
    with suppress(OSError, RuntimeError, ValueError):  # it may have ended by itself
        response.shutdown()


def _split(response: "BaseHTTPResponse", closing: threading.Event) -> Iterator[bytes]:
    """Whole lines out of whatever pieces arrive; a last line without its end counts too."""
    rest = b""
    while piece := call(response.read1, 65536):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if closing.is_set():
            return
    if rest:
        yield rest
