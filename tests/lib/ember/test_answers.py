"""Which answers are not taken for whole."""

import pytest

from tasks.lib.ember import content
from tasks.lib.ember.answers import cut_short
from tasks.lib.ember.http import Response

PAGE = b"<html>"
HASH = f"x-goog-hash: crc32c={content.as_base64(content.checksum([PAGE]))},md5=AAAA".encode()
JSON = b"Content-Type: application/json; charset=UTF-8"


@pytest.mark.parametrize(
    ("body", "lines", "short"),
    [
        (PAGE, [HASH], False),
        (PAGE[:3], [HASH], True),
        (b"", [HASH], True),
        (PAGE[:3], [HASH, b"Content-Length: 3"], False),
        (PAGE[:3], [HASH, b"Transfer-Encoding: chunked"], False),
        (PAGE[:3], [b"Content-Type: text/html"], False),
        (b'{"items": []}', [JSON], False),
        (b'{"items": [', [JSON], True),
        (b"\x1f\x8b", [JSON, b"x-goog-hash: crc32c=AAAAAA=="], True),
    ],
    ids=lambda value: str(value)[:30],
)
def test_content_without_a_length_must_have_its_checksum(
    body: bytes, lines: list[bytes], short: bool
) -> None:
    assert cut_short(Response(200, body, lines)) is short
