"""Writing objects: a small file in one request, a large one in a session that survives a lost connection."""

import json
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any
from urllib.parse import urlencode

from tasks.lib.ember import content
from tasks.lib.ember.access import Access
from tasks.lib.ember.objects import FIELDS, JSON, PLAIN_KEY, changed_meanwhile, plain_note, remote
from tasks.lib.ember.persistence import PASSING, Asking, ask, once, pause_before, refused, said
from tasks.lib.ember.plan import Plain, Send, same_content
from tasks.lib.ember.wire import Job, Pause, Request, Response, Steps, Stream
from tasks.lib.errors import Failure, TimedOut

# A boundary must not occur in what it separates; 128 random bits do not.
BOUNDARY = f"lookit-{secrets.token_hex(16)}"
MULTIPART = f"Content-Type: multipart/related; boundary={BOUNDARY}"
INCOMPLETE = 308
SESSION_GONE = frozenset({404, 410})

Done = Callable[[Send, int], None]
# Opens a file's bytes from an offset on.
OpenedAt = Callable[[int], IO[bytes]]


def small(access: Access, send: Send, data: bytes, done: Done, notes: Mapping[str, str] | None = None) -> Job:
    """A job that writes an object in one request.

    Args:
        access: the bucket.
        send: what to write, and over what.
        data: the file's bytes.
        done: called with `send` and the number of bytes stored, once the bucket's checksum has been compared.
        notes: what else to keep in the object's own metadata; where an object with the same content and other
            notes is found, somebody else wrote it.

    """

    def steps() -> Steps:
        if content.checksum([data]) != send.entry.crc32c:
            raise source_changed(send)
        stored = content.stored(data, send.entry.compressible)
        metadata = _metadata(send, stored.crc32c, stored.encoding)
        metadata["metadata"].update(notes or {})
        url = f"{access.upload_url()}?{_query(send, 'multipart')}"
        request = Request("POST", url, (MULTIPART,), _multipart(metadata, stored.data))
        response = yield from ask(request, access, access.deadline())
        yield from _concluded(access, send, stored.crc32c, response, notes or {})
        done(send, len(stored.data))

    return Job(steps(), held=2 * len(data))


def large(access: Access, send: Send, opened: OpenedAt, done: Done, alone: bool) -> Job:
    """A job that writes an object through a resumable session, as it is, without compressing it.

    Args:
        access: the bucket.
        send: what to write, and over what.
        opened: opens the file at an offset.
        done: as for `small`.
        alone: whether `opened` can serve only one file at a time.

    """

    def steps() -> Steps:
        entry = send.entry
        response = yield from _through_session(access, send, opened)
        yield from _concluded(access, send, entry.crc32c, response, {})
        done(send, entry.size)

    return Job(steps(), alone=alone)


def _through_session(access: Access, send: Send, opened: OpenedAt) -> Asking:
    """Send the bytes; after an error ask how many arrived and go on from there."""
    size = send.entry.size
    session = yield from _session(access, send)
    offset = attempt = 0
    while True:
        part = Stream(partial(opened, offset), size - offset)
        range_ = f"Content-Range: bytes {offset}-{size - 1}/{size}"
        response = yield from once(Request("PUT", session, (range_,), part))
        if response.status in SESSION_GONE:
            session, offset = (yield from _session(access, send)), 0
        elif response.status not in {*PASSING, INCOMPLETE}:
            return response
        attempt += 1
        if attempt > 8:
            raise TimedOut(
                f"{send.name} could not be sent.",
                f"The last of {attempt} attempts: {said(response)}",
                "Run the same command again: it sends only what is missing.",
            )
        yield Pause(pause_before(attempt, response.header("retry-after")))
        state = yield from ask(
            Request("PUT", session, (f"Content-Range: bytes */{size}",)), access, access.deadline()
        )
        if state.status in SESSION_GONE:
            session, offset = (yield from _session(access, send)), 0
        elif state.status != INCOMPLETE:
            return state
        else:
            offset = arrived(state)


def arrived(state: Response) -> int:
    """How many bytes a session has, by its Range header; without one, none."""
    _, _, last = state.header("range").partition("-")
    return int(last) + 1 if last.isdecimal() else 0


def _session(access: Access, send: Send) -> Any:
    """The address of a new session."""
    url = f"{access.upload_url()}?{_query(send, 'resumable')}"
    headers = (
        JSON,
        f"X-Upload-Content-Type: {send.entry.headers.content_type}",
        f"X-Upload-Content-Length: {send.entry.size}",
    )
    body = json.dumps(_metadata(send, send.entry.crc32c, "")).encode()
    response = yield from ask(Request("POST", url, headers, body), access, access.deadline())
    if response.status == 412:
        raise changed_meanwhile(send.name)
    if response.status not in {200, 201} or not response.header("location"):
        raise refused(response, access, f"{send.name} could not be sent.")
    return response.header("location")


def _concluded(access: Access, send: Send, crc32c: int, response: Response, notes: Mapping[str, str]) -> Any:
    """Compare what the bucket says it stored with what was sent.

    Raises:
        Failure: it is not the same, or nothing was stored.

    """
    if response.status == 412:
        # An earlier attempt may have been stored and only its answer lost.
        yield from _expect_stored(access, send, notes)
        return
    if response.status not in {200, 201}:
        raise refused(response, access, f"{send.name} could not be sent.")
    got = content.from_base64(json.loads(response.body)["crc32c"])
    if got != crc32c:
        raise Failure(
            f"{send.name} arrived damaged.",
            f"CRC32C sent {crc32c:08x}, stored {got:08x}.",
            "Run the same command again.",
        )


def _expect_stored(access: Access, send: Send, notes: Mapping[str, str]) -> Any:
    request = Request("GET", f"{access.object_url(send.name)}?{urlencode({'fields': FIELDS})}")
    response = yield from ask(request, access, access.deadline())
    if response.status != 200:
        raise changed_meanwhile(send.name)
    item = json.loads(response.body)
    there = remote(item)
    if not notes.items() <= item.get("metadata", {}).items():
        raise changed_meanwhile(send.name)
    if not same_content(send.entry, there) or there.headers != send.entry.headers:
        raise changed_meanwhile(send.name)


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


def source_changed(send: Send) -> Failure:
    """The error for a file that is not what it was when the archive was examined."""
    return Failure(
        f"{send.entry.path} changed while it was being uploaded.",
        "It is not what was read when the archive was examined.",
        "Run the same command again once nothing writes to it.",
    )
