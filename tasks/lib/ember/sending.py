"""Writing an object in one request, or as a copy of another one; what the bucket stored is compared."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from tasks.lib.ember import content, objects
from tasks.lib.ember.access import Access
from tasks.lib.ember.answers import ask, refused
from tasks.lib.ember.http import Request, Response, Steps
from tasks.lib.ember.objects import ABSENT, JSON, PLAIN_KEY, Plain, changed, plain_note, remote_of
from tasks.lib.ember.plan import Copy, Send, is_as_it_should_be, same_content
from tasks.lib.errors import Failure

# A boundary must not occur in what it separates; 128 random bits do not.
BOUNDARY = f"lookit-{os.urandom(16).hex()}"
MULTIPART = f"Content-Type: multipart/related; boundary={BOUNDARY}"
NO_NOTES: Mapping[str, str] = {}


class Written(NamedTuple):
    """What a write left: the object's generation, and the bytes that were stored."""

    generation: int
    stored: int


def write(
    access: Access, send: Send, data: bytes, notes: Mapping[str, str] = NO_NOTES
) -> Steps[Written]:  # fmt: skip
    """Write an object in one request.

    `notes` are kept in its metadata; an object with the same content and others was written by somebody else.

    Raises:
        Changed: the object has another generation.
        Failure: the bytes are not those of the entry, or arrived damaged.

    """
    if content.checksum([data]) != send.entry.crc32c:
        raise source_changed(send.entry.path)
    stored = content.stored(data, send.entry.compressible)
    described = metadata(send, stored.crc32c, stored.encoding)
    described["metadata"].update(notes)
    url = f"{access.upload_url()}?{query(send, 'multipart')}"
    request = Request("POST", url, (MULTIPART,), _multipart(described, stored.data))
    response = yield from ask(access, request)
    generation = yield from concluded(access, send, stored.crc32c, response, notes)
    return Written(generation, len(stored.data))


def copied(access: Access, copy: Copy) -> Steps[Send | None]:
    """Write an object by copying; what has to be sent instead, where the source is not there or not right.

    Raises:
        Changed: the target has another generation, and holds something else.

    """
    send = copy.send
    there = yield from objects.copy(access, copy.source, send.name, send.generation)
    if there:
        return None if same_content(send.entry, there) else replace(send, generation=there.generation)
    item = yield from objects.look_up(access, send.name)
    if item is None:
        return replace(send, generation=ABSENT)
    there = remote_of(item)
    if there.generation == send.generation:
        return send
    # An earlier attempt may have been carried out and only its answer lost.
    if not is_as_it_should_be(send.entry, there):
        raise changed(send.name)
    return None


def concluded(
    access: Access, send: Send, crc32c: int, response: Response, notes: Mapping[str, str] = NO_NOTES
) -> Steps[int]:  # fmt: skip
    """The generation of what was written, once what the bucket says it stored is what was sent."""
    if response.status == 412:
        # An earlier attempt may have been stored and only its answer lost.
        return (yield from _expect_stored(access, send, notes))
    if response.status not in {200, 201}:
        raise refused(response, access, f"{send.name} could not be sent.")
    try:
        stored = json.loads(response.body)
        got, generation = content.from_base64(stored["crc32c"]), int(stored["generation"])
    except (ValueError, KeyError, TypeError):
        # The answer was cut off, or is of a session that was finished before: ask again.
        return (yield from _expect_stored(access, send, notes))
    if got != crc32c:
        raise Failure(
            f"{send.name} arrived damaged.",
            f"CRC32C sent {crc32c:08x}, stored {got:08x}.",
            "Run the same command again.",
        )
    return generation


def _expect_stored(access: Access, send: Send, notes: Mapping[str, str]) -> Steps[int]:
    """Look whether the object is there as it was to be written, by whatever attempt; its generation."""
    item = yield from objects.look_up(access, send.name)
    if item is None or not notes.items() <= item.metadata.items():
        raise changed(send.name)
    there = remote_of(item)
    if not is_as_it_should_be(send.entry, there):
        raise changed(send.name)
    return there.generation


def metadata(send: Send, crc32c: int, encoding: str) -> dict[str, Any]:
    """What the JSON API is told of an object with the file's headers."""
    entry = send.entry
    described: dict[str, Any] = {
        "name": send.name,
        "contentType": entry.headers.content_type,
        "crc32c": content.as_base64(crc32c),
        "metadata": {PLAIN_KEY: plain_note(Plain(entry.size, entry.crc32c))},
    }
    if entry.headers.cache_control:
        described["cacheControl"] = entry.headers.cache_control
    if encoding:
        described["contentEncoding"] = encoding
    return described


def query(send: Send, kind: str) -> str:
    """The parameters of an upload of a kind: multipart or resumable."""
    return f"uploadType={kind}&ifGenerationMatch={send.generation}&fields=crc32c,generation"


def _multipart(described: dict[str, Any], data: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\n{JSON}\r\n\r\n{json.dumps(described)}\r\n--{BOUNDARY}\r\n"
    kind = f"Content-Type: {described['contentType']}\r\n\r\n"
    return b"".join((head.encode(), kind.encode(), data, f"\r\n--{BOUNDARY}--\r\n".encode()))


def source_changed(what: str) -> Failure:
    """The error for a file, or a whole archive, that is not what it was when the archive was examined."""
    return Failure(
        f"{what} changed while it was being uploaded.",
        "It is not what was read when the archive was examined.",
        "Run the same command again once nothing writes to it.",
    )
