"""How bytes are stored."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.ember import content

# RFC 3720 gives the CRC32C of 32 zero bytes.
ZEROS = 0x8A9136AA


def test_the_checksum_is_crc32c() -> None:
    assert content.checksum([bytes(32)]) == ZEROS
    assert content.checksum([bytes(12), bytes(20)]) == ZEROS


def test_a_checksum_is_written_as_cloud_storage_writes_it() -> None:
    assert content.as_base64(ZEROS) == "ipE2qg=="
    assert content.from_base64("ipE2qg==") == ZEROS


@given(st.binary(max_size=5000), st.booleans())
def test_what_is_stored_unpacks_to_what_was_there(data: bytes, compressible: bool) -> None:
    stored = content.stored(data, compressible)
    assert (zlib.decompress(stored.data, 31) if stored.encoding else stored.data) == data
    assert len(stored.data) <= len(data)
    assert stored.crc32c == content.checksum([stored.data])


def test_compressing_twice_gives_the_same_bytes() -> None:
    text = b"function () {}" * 500
    assert content.compress(text) == content.compress(text)
    assert content.compress(text)[4:8] == bytes(4)
