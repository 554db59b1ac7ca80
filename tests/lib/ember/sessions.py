"""Resumable uploads as Cloud Storage documents them, in front of a server that knows them only by halves.

https://cloud.google.com/storage/docs/performing-resumable-uploads: a session keeps what arrived, also of a request
that was cut off, in whole multiples of 256 KiB; asked `Content-Range: bytes */N` it answers 308 and in Range what it
has; bytes that it has already are passed over; once it is finished it answers with the object.  (fake-gcs-server
takes the question for the end of the upload, appends whatever comes, and heeds no precondition.)
"""

import json
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

GRAIN = 256 << 10
Answer = tuple[int, list[tuple[str, str]], bytes]
# Method, path with query, headers and body, to the server behind.
Forward = Callable[[str, str, dict[str, str], bytes], Answer]


@dataclass
class Session:
    """One upload on its way."""

    path: str
    metadata: bytes
    data: bytearray = field(default_factory=bytearray)
    finished: Answer | None = None
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """All sessions, by their number."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.all: dict[str, Session] = {}

    def begin(self, path: str, metadata: bytes) -> Answer:
        """A new session, whose address is the answer's Location."""
        number = secrets.token_hex(8)
        self.all[number] = Session(path, metadata)
        location = f"{self._url}{urlsplit(path).path}?uploadType=resumable&upload_id={number}"
        return 200, [("Location", location)], b""

    def put(self, path: str, content_range: str, body: bytes, forward: Forward) -> Answer:
        """Take bytes, or the question what has arrived; `body` is shorter than it claims where it was cut off."""
        session = self.all.get(parse_qs(urlsplit(path).query)["upload_id"][0])
        if session is None:
            return 404, [], b"no such session"
        with session.lock:
            return session.finished or _put(session, content_range, body, forward)


def _put(session: Session, content_range: str, body: bytes, forward: Forward) -> Answer:
    if re.fullmatch(r"bytes \*/(\*|\d+)", content_range):
        session.asked += 1
        return _incomplete(session)
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range)
    assert match, content_range
    start, end, size = (int(number) for number in match.groups())
    have, length = len(session.data), end - start + 1
    if start > have or (end + 1 < size and length % GRAIN):
        return 400, [], b"a gap, or a part that is no multiple of 256 KiB"
    session.data += body[have - start :]
    if len(body) < length:
        del session.data[max(have, len(session.data) // GRAIN * GRAIN) :]
    if len(session.data) < size:
        return _incomplete(session)
    session.finished = _stored(session, forward)
    return session.finished


def _incomplete(session: Session) -> Answer:
    return 308, [("Range", f"bytes=0-{len(session.data) - 1}")] if session.data else [], b""


def _stored(session: Session, forward: Forward) -> Answer:
    """The object, written at once, under the conditions that the session was begun with."""
    kind = json.loads(session.metadata)["contentType"]
    mark = secrets.token_hex(16)
    head = f"--{mark}\r\nContent-Type: application/json\r\n\r\n".encode() + session.metadata
    part = f"\r\n--{mark}\r\nContent-Type: {kind}\r\n\r\n".encode()
    body = b"".join((head, part, session.data, f"\r\n--{mark}--\r\n".encode()))
    path = session.path.replace("uploadType=resumable", "uploadType=multipart")
    return forward("POST", path, {"Content-Type": f"multipart/related; boundary={mark}"}, body)
