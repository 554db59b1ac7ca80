"""What the bucket says it stored is compared with what was sent."""

import json

import pytest

from tasks.lib.ember import content, revisions, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.http import Request, Response
from tasks.lib.ember.objects import ABSENT
from tasks.lib.ember.plan import Send
from tasks.lib.errors import Failure

DATA = b"let a;" * 50
SEND = Send(revisions.made("a.js", DATA, revisions.MANIFEST_HEADERS), "p/a.js", ABSENT)
STORED = content.stored(DATA, SEND.entry.compressible)


def answered(access: Access, crc32c: int) -> sending.Written:
    """What was written, once the bucket has answered with this checksum."""
    steps = sending.write(access, SEND, DATA)
    assert isinstance(next(steps), Request)
    body = json.dumps({"crc32c": content.as_base64(crc32c), "generation": "1"}).encode()
    with pytest.raises(StopIteration) as end:
        steps.send(Response(200, body))
    written: sending.Written = end.value.value
    return written


def test_an_object_with_the_checksum_that_was_sent_is_done(access: Access) -> None:
    assert answered(access, STORED.crc32c) == (1, len(STORED.data))


def test_an_object_with_another_checksum_arrived_damaged(access: Access) -> None:
    with pytest.raises(Failure, match=r"p/a\.js arrived damaged") as caught:
        answered(access, STORED.crc32c ^ 1)
    assert caught.value.why == f"CRC32C sent {STORED.crc32c:08x}, stored {STORED.crc32c ^ 1:08x}."
