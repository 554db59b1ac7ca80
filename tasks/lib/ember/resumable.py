"""Sending a large file in a session that survives a lost connection, and the end of this process."""

import json
from functools import partial
from typing import IO, Protocol

from tasks.lib.ember import content
from tasks.lib.ember.access import Access
from tasks.lib.ember.answers import PASSING, ask, once, refused, said
from tasks.lib.ember.http import MOST_HELD, UNREACHABLE, Pause, Request, Response, Steps, Stream
from tasks.lib.ember.objects import JSON
from tasks.lib.ember.plan import Send
from tasks.lib.ember.sending import Written, concluded, metadata, query
from tasks.lib.errors import TimedOut
from tasks.lib.retry import retry_after

INCOMPLETE = 308
SESSION_MADE = frozenset({200, 201})
SESSION_GONE = frozenset({404, 410})
MOST_ATTEMPTS = 10
GRAIN = 256 << 10
# Large files on their way at once: more share the same line, and all of them are done later.
STREAMS = 8
HELD = MOST_HELD // STREAMS


class Reading(Protocol):
    """A file that can be read from any offset, best from where it was left."""

    def at(self, offset: int) -> IO[bytes]:
        """The bytes from `offset` on; closing what is returned is not needed."""

    def close(self) -> None:
        """Let go of the file."""


def send_large(access: Access, send: Send, reading: Reading, part: int) -> Steps[Written]:
    """Write an object through a resumable session, `part` bytes at a time, without compressing it."""
    try:
        response = yield from _through_session(access, send, reading, part)
    finally:
        reading.close()
    generation = yield from concluded(access, send, send.entry.crc32c, response)
    access.checkpoints.forget(_key(access, send))
    return Written(generation, send.entry.size)


def _through_session(access: Access, send: Send, reading: Reading, part: int) -> Steps[Response]:
    """Send the bytes through a session, in as many attempts as it takes.

    Raises:
        TimedOut: there were too many.

    """
    key, attempts = _key(access, send), access.attempts(most=MOST_ATTEMPTS)
    response = Response(UNREACHABLE, b"")
    for attempt in range(1, MOST_ATTEMPTS + 1):
        response = yield from _attempt(access, send, reading, part, attempt)
        if response.status in SESSION_GONE:
            access.checkpoints.forget(key)
        elif response.status not in PASSING:
            return response
        pause = attempts.pause(retry_after(response.header("retry-after")))
        if pause is None or pause > access.limit:
            break
        yield Pause(pause)
    raise TimedOut(
        f"{send.name} could not be sent.",
        f"The last of {attempt} attempts: {said(response)}",
        "Run the same command again: it goes on where this one ended.",
    )


def _attempt(access: Access, send: Send, reading: Reading, part: int, attempt: int) -> Steps[Response]:
    """Take up the session that is remembered, or begin one, and send part by part what it does not have."""
    size, key = send.entry.size, _key(access, send)
    session, offset = access.checkpoints.load(key)
    if not session:
        made = yield from _session(access, send)
        if made.status == 412:
            return made
        session = made.header("location")
        access.checkpoints.save(key, session, 0)
    elif attempt > 1:
        # How much of the part that went wrong has arrived, only the session knows.
        state = yield from _state(access, session, send)
        if state.status != INCOMPLETE:
            return state
        offset = arrived(state)
    while True:
        response = yield from _part(session, reading, offset, min(part, size - offset), size)
        if response.status != INCOMPLETE:
            return response
        if arrived(response) <= offset:
            return Response(UNREACHABLE, b"the session took no bytes")
        offset = arrived(response)
        access.checkpoints.save(key, session, offset)


def _part(session: str, reading: Reading, offset: int, length: int, size: int) -> Steps[Response]:
    """Send `length` bytes of the file from `offset` on."""
    range_ = f"Content-Range: bytes {offset}-{offset + length - 1}/{size}"
    return (yield from once(Request("PUT", session, (range_,), Stream(partial(reading.at, offset), length))))


def _state(access: Access, session: str, send: Send) -> Steps[Response]:
    """Ask a session how many bytes it has; one that ended before it had all is as good as gone."""
    request = Request("PUT", session, (f"Content-Range: bytes */{send.entry.size}",))
    state = yield from ask(access, request)
    return Response(410, b"the session ended too early") if _ended_early(state, send) else state


def _ended_early(state: Response, send: Send) -> bool:
    """Whether a server took the question for the end of the upload, as fake-gcs-server does."""
    if state.status not in SESSION_MADE:
        return False
    try:
        return content.from_base64(json.loads(state.body)["crc32c"]) != send.entry.crc32c
    except (ValueError, KeyError, TypeError):
        return False


def _key(access: Access, send: Send) -> str:
    """What a session is for: it can be taken up only for the very same write."""
    entry = send.entry
    parts = (
        access.endpoint,
        access.bucket,
        send.name,
        send.generation,
        entry.size,
        entry.crc32c,
        entry.headers,
    )
    return repr(parts)


def arrived(state: Response) -> int:
    """How many bytes a session has, by its Range header; without one, none.

    Sessions keep whole multiples of 256 KiB, and what is sent twice is passed over: rounding down is safe.
    """
    _, _, last = state.header("range").partition("-")
    return (int(last) + 1) // GRAIN * GRAIN if last.isdecimal() else 0


def _session(access: Access, send: Send) -> Steps[Response]:
    """Begin a session; its address is the answer's Location.

    Raises:
        Failure: it was refused for another reason than the object's generation.

    """
    url = f"{access.upload_url()}?{query(send, 'resumable')}"
    headers = (
        JSON,
        f"X-Upload-Content-Type: {send.entry.headers.content_type}",
        f"X-Upload-Content-Length: {send.entry.size}",
    )
    body = json.dumps(metadata(send, send.entry.crc32c, "")).encode()
    response = yield from ask(access, Request("POST", url, headers, body))
    made = response.status in SESSION_MADE and response.header("location")
    if not made and response.status != 412:
        raise refused(response, access, f"{send.name} could not be sent.")
    return response
