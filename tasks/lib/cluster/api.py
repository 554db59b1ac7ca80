"""A thin client for the Kubernetes API: JSON in, JSON out, one pool of connections, safe retries.

It takes paths and plain dicts, as rendered manifests are dicts.
docs/decisions/0010-thin-kubernetes-client.md says why it is not one of the typed clients.
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
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_TYPE: Final = "application/json"
APPLY_TYPE: Final = "application/apply-patch+yaml"  # JSON is YAML
PAGE: Final = 500
SHOWN: Final = 200  # characters of an answer that is not an API server's
MOMENT: Final = 2.0

# Characters that YAML does not read as JSON does unless they are escaped.
ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
STARTING: Final = re.compile(r'is forbidden: User ".*" cannot ')


@dataclass(frozen=True)
class Patience:
    """How long to wait for the server, in seconds: for one attempt, and for all attempts together."""

    attempt: float
    total: float


# For requests that are optional: they do not wait long for a server that does not answer.
HURRIED: Final = Patience(5, 10)


class Api:
    """A client of one API server.  Safe to use from several threads.

    `token` returns a valid bearer token; `temporary` says whether a refusal may be tried again.
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
        # What the server warned of, such as a deprecated API, as in the header Warning.
        self.warnings: set[str] = set()

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
        """Send a request, and again while the error may be temporary: every request here may be repeated.

        `doing` names it for error messages, such as `apply Deployment web`. Raises ApiError where the server
        refused, Unreachable where there is no answer in time.
        """
        attempts = Attempts(self.patience.total)
        headers = {"Accept": accept, "Content-Type": content_type}
        data = encoded(body) if body is not None else None
        while True:
            asked = 0.0
            try:
                response = self._sent(method, with_query(path, query), headers, data)
                if response.status < 300:
                    self.warnings.update(response.headers.getlist("Warning"))
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
        """Read the object at `path`."""
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
                items, following = [], ""  # the later pages expired: start again
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
        """The value of the header Authorization."""
        return f"Bearer {self._token()}"

    def lines(self, path: str, *, query: Mapping[str, str], idle: float) -> Iterator[bytes]:
        """Stream the lines of a watch or a log until the server ends it or sends nothing for `idle` seconds.

        Raises ApiError where the server refused, Unreachable where the connection failed or broke.
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
        """A client of the same server with other time-outs."""
        return Api(self.endpoint, self._token, patience, self._temporary)

    def assured(self) -> "Api":
        """A client for after the permissions were checked: it treats later refusals as temporary.

        An API server that has just started refuses every request until it has read its roles.
        """
        return Api(self.endpoint, self._token, self.patience, _is_temporary_when_assured)

    def close(self) -> None:
        """End the retries and streams of other threads, and drop the connections."""
        self._closing.set()
        for stream in list(self._streams):
            _cut_short(stream)
        self._pools.clear()
        self._pool = self._connections()

    def _decoded(self, data: bytes) -> Json:
        """The answer.

        Raises Unreachable where it is not a JSON object: a proxy or a login page may have answered instead.
        """
        answer = object_in(data or b"{}")
        if answer is None:
            raise self._not_an_api_server(data.decode(errors="replace").strip())
        return answer

    def _not_an_api_server(self, said: str) -> Unreachable:
        why = f"Something other than an API server answered: {said[:SHOWN]}"
        return Unreachable(self.endpoint.server, why)

    def _connections(self) -> "HTTPConnectionPool":
        """The connections to the server; looking them up each time costs a sixth of a request."""
        return self._pools.connection_from_url(self.endpoint.server)

    def _sent(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> "BaseHTTPResponse":
        """Send it; from the main thread in another thread, so that a signal ends the wait.

        A write in progress gets two more seconds, so that later steps, such as releasing the lock, see it.
        """
        if not signals.in_main_thread():
            return self._send(method, path, headers, data)
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
            raise self._not_an_api_server(f"it redirects to {elsewhere}")
        return response


def _is_temporary_when_assured(error: ApiError) -> bool:
    """Also what a starting server answers; admission and quota answer 403 with other messages."""
    return _is_temporary(error) or error.status == 401 or bool(STARTING.search(error.message))


def _is_temporary(error: ApiError) -> bool:
    return error.status in TEMPORARY and not is_permanent(error.message)


def applying(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an apply: this field manager, and refusal of unknown fields."""
    return {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **query}


def encoded(body: Json | list[Json]) -> bytes:
    """JSON that is also valid YAML, because the server parses applied objects as YAML.

    YAML does not know surrogate pairs, which JSON uses to escape characters such as emojis.
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def with_query(path: str, query: Mapping[str, str] | None) -> str:
    """A path with its parameters."""
    return f"{path}?{urlencode(query)}" if query else path


def _cut_short(response: "BaseHTTPResponse") -> None:
    """End a stream that another thread may be reading; closing it would wait for that thread."""
    with suppress(OSError, RuntimeError, ValueError):  # it may have ended by itself
        response.shutdown()


def _split(response: "BaseHTTPResponse", closing: threading.Event) -> Iterator[bytes]:
    """Whole lines from pieces of any size, including a last line without a line end."""
    rest = b""
    while piece := call(response.read1, 65536):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if closing.is_set():
            return
    if rest:
        yield rest
