"""Writing objects: a small file in one request, a large one in a session that survives a lost connection."""

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, Protocol
from urllib.parse import urlencode

from msgspec import Struct

from tasks.lib.ember import content
from tasks.lib.ember.access import Access
from tasks.lib.ember.objects import JSON, changed_meanwhile
from tasks.lib.ember.persistence import PASSING, Asking, answer, ask, once, pause_before, refused, said
from tasks.lib.ember.plan import Send, same_content
from tasks.lib.ember.remote import FIELDS, PLAIN_KEY, Item, Plain, plain_note, remote_of
from tasks.lib.ember.wire import MOST_HELD, UNREACHABLE, Job, Pause, Request, Response, Steps, Stream
from tasks.lib.errors import Failure, TimedOut

# A boundary must not occur in what it separates; 128 random bits do not.
BOUNDARY = f"lookit-{os.urandom(16).hex()}"
MULTIPART = f"Content-Type: multipart/related; boundary={BOUNDARY}"
INCOMPLETE = 308
SESSION_MADE = frozenset({200, 201})
SESSION_GONE = frozenset({404, 410})
MOST_ATTEMPTS = 10
GRAIN = 256 << 10
# Large files on their way at once: more share the same line, and all of them are done later.
STREAMS = 8

Done = Callable[[Send, int], None]


class Reading(Protocol):
    """A file that can be read from any offset, best from where it was left."""

    def at(self, offset: int) -> IO[bytes]:
        """The bytes from `offset` on; closing what is returned is not needed."""

    def close(self) -> None:
        """Let go of the file."""


class Sizes(Struct, frozen=True):
    """Bytes: beyond `session` a file is sent through a session, and there `part` at a time."""

    session: int
    part: int


def small(
    access: Access, send: Send, data: bytes, done: Done, notes: Mapping[str, str] | None = None,
    written: Callable[[int], None] | None = None,
) -> Job:  # fmt: skip
    """A job that writes an object in one request.

    Args:
        access: the bucket.
        send: what to write, and over what.
        data: the file's bytes.
        done: called with `send` and the number of bytes stored, once the bucket's checksum has been compared.
        notes: what else to keep in the object's own metadata; where an object with the same content and other
            notes is found, somebody else wrote it.
        written: called with the generation that the object has then.

    """

    def steps() -> Steps:
        if content.checksum([data]) != send.entry.crc32c:
            raise source_changed(send.entry.path)
        stored = content.stored(data, send.entry.compressible)
        metadata = _metadata(send, stored.crc32c, stored.encoding)
        metadata["metadata"].update(notes or {})
        url = f"{access.upload_url()}?{_query(send, 'multipart')}"
        request = Request("POST", url, (MULTIPART,), _multipart(metadata, stored.data))
        response = yield from ask(request, access, access.deadline())
        generation = yield from _concluded(access, send, stored.crc32c, response, notes or {})
        if written:
            written(generation)
        done(send, len(stored.data))

    return Job(steps(), held=2 * len(data))


def large(access: Access, send: Send, reading: Reading, done: Done, sizes: Sizes, alone: bool) -> Job:
    """A job that writes an object through a resumable session, as it is, without compressing it.

    Args:
        access: the bucket.
        send: what to write, and over what.
        reading: the file.
        done: as for `small`.
        sizes: how much to send at a time.
        alone: whether the archive can serve only one file at a time.

    """

    def steps() -> Steps:
        try:
            response = yield from _through_session(access, send, reading, sizes.part)
        finally:
            reading.close()
        yield from _concluded(access, send, send.entry.crc32c, response, {})
        access.checkpoints.forget(_key(access, send))
        done(send, send.entry.size)

    return Job(steps(), held=MOST_HELD // STREAMS, alone=alone)


def _through_session(access: Access, send: Send, reading: Reading, part: int) -> Asking:
    """Send the bytes through a session, in as many attempts as it takes.

    Raises:
        TimedOut: there were too many.

    """
    key = _key(access, send)
    response = Response(UNREACHABLE, b"")
    for attempt in range(1, MOST_ATTEMPTS + 1):
        response = yield from _attempt(access, send, reading, part, attempt)
        if response.status in SESSION_GONE:
            access.checkpoints.forget(key)
        elif response.status not in PASSING:
            return response
        pause = pause_before(attempt, response.header("retry-after"), access.first_pause)
        if attempt == MOST_ATTEMPTS or pause > access.limit:
            break
        yield Pause(pause)
    raise TimedOut(
        f"{send.name} could not be sent.",
        f"The last of {attempt} attempts: {said(response)}",
        "Run the same command again: it goes on where this one ended.",
    )


def _attempt(access: Access, send: Send, reading: Reading, part: int, attempt: int) -> Asking:
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


def _part(session: str, reading: Reading, offset: int, length: int, size: int) -> Asking:
    """Send `length` bytes of the file from `offset` on."""
    range_ = f"Content-Range: bytes {offset}-{offset + length - 1}/{size}"
    return (yield from once(Request("PUT", session, (range_,), Stream(partial(reading.at, offset), length))))


def _state(access: Access, session: str, send: Send) -> Asking:
    """Ask a session how many bytes it has; one that ended before it had all is as good as gone."""
    request = Request("PUT", session, (f"Content-Range: bytes */{send.entry.size}",))
    state = yield from ask(request, access, access.deadline())
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


def _session(access: Access, send: Send) -> Asking:
    """Begin a session; its address is the answer's Location.

    Raises:
        Failure: it was refused for another reason than the object's generation.

    """
    url = f"{access.upload_url()}?{_query(send, 'resumable')}"
    headers = (
        JSON,
        f"X-Upload-Content-Type: {send.entry.headers.content_type}",
        f"X-Upload-Content-Length: {send.entry.size}",
    )
    body = json.dumps(_metadata(send, send.entry.crc32c, "")).encode()
    response = yield from ask(Request("POST", url, headers, body), access, access.deadline())
    made = response.status in SESSION_MADE and response.header("location")
    if not made and response.status != 412:
        raise refused(response, access, f"{send.name} could not be sent.")
    return response


def _concluded(access: Access, send: Send, crc32c: int, response: Response, notes: Mapping[str, str]) -> Any:
    """Compare what the bucket says it stored with what was sent; returns its generation.

    Raises:
        Failure: it is not the same, or nothing was stored.

    """
    if response.status == 412:
        # An earlier attempt may have been stored and only its answer lost.
        return (yield from expect_stored(access, send, notes))
    if response.status not in {200, 201}:
        raise refused(response, access, f"{send.name} could not be sent.")
    try:
        stored = json.loads(response.body)
        got, generation = content.from_base64(stored["crc32c"]), int(stored["generation"])
    except (ValueError, KeyError, TypeError):
        # The answer was cut off, or is of a session that was finished before: ask again.
        return (yield from expect_stored(access, send, notes))
    if got != crc32c:
        raise Failure(
            f"{send.name} arrived damaged.",
            f"CRC32C sent {crc32c:08x}, stored {got:08x}.",
            "Run the same command again.",
        )
    return generation


def expect_stored(access: Access, send: Send, notes: Mapping[str, str]) -> Any:
    """Look whether the object is there as it was to be written, by whatever attempt; returns its generation.

    Raises:
        Changed: it is not.

    """
    request = Request("GET", f"{access.object_url(send.name)}?{urlencode({'fields': FIELDS})}")
    response = yield from ask(request, access, access.deadline())
    if response.status != 200:
        raise changed_meanwhile(send.name)
    item = answer(response, Item)
    there = remote_of(item)
    if not notes.items() <= item.metadata.items():
        raise changed_meanwhile(send.name)
    if not same_content(send.entry, there) or there.headers != send.entry.headers:
        raise changed_meanwhile(send.name)
    return there.generation


def _metadata(send: Send, crc32c: int, encoding: str) -> dict[str, Any]:
    entry = send.entry
    metadata: dict[str, Any] = {
        "name": send.name,
        "contentType": entry.headers.content_type,
        "crc32c": content.as_base64(crc32c),
        "metadata": {PLAIN_KEY: plain_note(Plain(entry.size, entry.crc32c))},
    }
    if entry.headers.cache_control:
        metadata["cacheControl"] = entry.headers.cache_control
    if encoding:
        metadata["contentEncoding"] = encoding
    return metadata


def _query(send: Send, kind: str) -> str:
    return urlencode(
        {"uploadType": kind, "ifGenerationMatch": send.generation, "fields": "crc32c,generation"}
    )


def _multipart(metadata: dict[str, Any], data: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\n{JSON}\r\n\r\n{json.dumps(metadata)}\r\n--{BOUNDARY}\r\n"
    kind = f"Content-Type: {metadata['contentType']}\r\n\r\n"
    return b"".join((head.encode(), kind.encode(), data, f"\r\n--{BOUNDARY}--\r\n".encode()))


def source_changed(what: str) -> Failure:
    """The error for a file, or a whole archive, that is not what it was when the archive was examined."""
    return Failure(
        f"{what} changed while it was being uploaded.",
        "It is not what was read when the archive was examined.",
        "Run the same command again once nothing writes to it.",
    )
