"""Many applies at once over libcurl, on one thread: each costs us a third of what it costs through Api.

Each is tried once.  What does not go through is left to Api, which knows what may be sent again, and how a
refusal is told.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tasks.lib import authorities, signals
from tasks.lib.cluster.api import (
    APPLY_TYPE,
    FIELD_MANAGER,
    JSON_TYPE,
    Api,
    Json,
    applying,
    encoded,
    with_query,
)
from tasks.lib.cluster.endpoint import proxy_to
from tasks.lib.cluster.refusal import object_in

# From so many on, connections of their own are worth their handshakes.
MANY: Final = 50
# Side by side, applies take the API server and etcd less: they deal with several at once.
CONNECTIONS: Final = 16


@dataclass(frozen=True)
class Write:
    """One object to apply.

    Args:
        path: of the object.
        body: what to apply.
        ended: called with the server's answer; with None where it was none, or a refusal.
        query: adds dryRun or force.

    """

    path: str
    body: Json
    ended: Callable[[Json | None], None]
    query: Mapping[str, str] = field(default_factory=dict)


def send(api: Api, writes: Iterable[Write]) -> None:
    """Send every write as soon as a connection is free for it; returns when all have ended.

    Args:
        api: the server, and who asks.
        writes: taken one by one, as they are sent; may look at how earlier ones ended.

    """
    import pycurl

    curl: Any = pycurl  # its own type information leaves out what its C part defines
    waiting, multi = iter(writes), curl.CurlMulti()
    idle = [_connection(curl, api) for _ in range(CONNECTIONS)]
    running: dict[Any, tuple[Write, list[bytes]]] = {}
    try:
        while True:
            signals.check()
            while idle and (write := next(waiting, None)):
                handle = idle.pop()
                running[handle] = write, _begin(curl, handle, api, write)
                multi.add_handle(handle)
            if not running:
                return
            for handle, whole in _ended(curl, multi):
                multi.remove_handle(handle)
                idle.append(handle)
                write, pieces = running.pop(handle)
                well = whole and handle.getinfo(curl.RESPONSE_CODE) < 300
                write.ended(object_in(b"".join(pieces)) if well else None)
    finally:
        for handle in running:
            multi.remove_handle(handle)
        multi.close()


def _connection(curl: Any, api: Api) -> Any:
    handle = curl.Curl()
    handle.setopt(curl.NOSIGNAL, 1)
    handle.setopt(curl.HTTP_VERSION, curl.CURL_HTTP_VERSION_1_1)
    handle.setopt(curl.PROTOCOLS, curl.PROTO_HTTPS)
    handle.setopt(curl.PROXY, proxy_to(api.endpoint))
    handle.setopt(curl.TIMEOUT_MS, int(api.patience.attempt * 1000))
    if api.endpoint.ca:
        handle.setopt(curl.CAINFO_BLOB, api.endpoint.ca)
    else:
        handle.setopt(curl.CAINFO, authorities.public())
    return handle


def _begin(curl: Any, handle: Any, api: Api, write: Write) -> list[bytes]:
    """Tell libcurl what to send; returns where the answer will come, piece by piece."""
    pieces: list[bytes] = []
    headers = [
        f"Accept: {JSON_TYPE}",
        f"Content-Type: {APPLY_TYPE}",
        f"User-Agent: {FIELD_MANAGER}",
        "Expect:",
    ]
    handle.setopt(curl.HTTPHEADER, [*headers, f"Authorization: {api.authorization()}"])
    handle.setopt(curl.URL, api.endpoint.server + with_query(write.path, applying(write.query)))
    handle.setopt(curl.POSTFIELDS, encoded(write.body))
    handle.setopt(curl.CUSTOMREQUEST, "PATCH")
    handle.setopt(curl.WRITEFUNCTION, pieces.append)
    return pieces


def _ended(curl: Any, multi: Any) -> list[tuple[Any, bool]]:
    """Move bytes; returns the connections that are done, and whether with an answer that is whole."""
    while multi.perform()[0] == curl.E_CALL_MULTI_PERFORM:
        pass
    found: list[tuple[Any, bool]] = []
    left = True
    while left:
        left, done, failed = multi.info_read()
        found += [(handle, True) for handle in done] + [(handle, False) for handle, _, _ in failed]
    if not found:
        due = multi.timeout()  # in milliseconds; -1 where no limit is near
        multi.select(min(due / 1000, 1.0) if due >= 0 else 1.0)
    return found
