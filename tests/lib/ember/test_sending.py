"""What the bucket says it stored is compared with what was sent."""

import json

import pytest

from tasks.lib.ember import activation, content, revisions, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.plan import Send
from tasks.lib.ember.remote import ABSENT
from tasks.lib.ember.wire import Request, Response
from tasks.lib.errors import Failure

DATA = b"let a;" * 50
SEND = Send(revisions.made("a.js", DATA, activation.PAGE_HEADERS), "p/a.js", ABSENT)
STORED = content.stored(DATA, SEND.entry.compressible)


def answered(access: Access, crc32c: int) -> list[int]:
    """The sizes that were told as done once the bucket has answered with this checksum."""
    done: list[int] = []
    steps = sending.small(access, SEND, DATA, lambda _send, size: done.append(size)).steps
    assert isinstance(next(steps), Request)
    body = json.dumps({"crc32c": content.as_base64(crc32c), "generation": "1"}).encode()
    with pytest.raises(StopIteration):
        steps.send(Response(200, body))
    return done


def test_an_object_with_the_checksum_that_was_sent_is_done(access: Access) -> None:
    assert answered(access, STORED.crc32c) == [len(STORED.data)]


def test_an_object_with_another_checksum_arrived_damaged(access: Access) -> None:
    with pytest.raises(Failure, match=r"p/a\.js arrived damaged") as caught:
        answered(access, STORED.crc32c ^ 1)
    assert caught.value.why == f"CRC32C sent {STORED.crc32c:08x}, stored {STORED.crc32c ^ 1:08x}."
