"""Zstandard files of every shape are whole, and no beginning of one is."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.ember.archive.zstandard_frames import expect_whole
from tests.lib.ember import archives
from tests.lib.ember.archive.test_inventory import SOUND, refusal

SKIPPED = struct.pack("<II", 0x184D2A53, 5) + b"hello"


def packed(data: bytes, *, checksum: bool = False, size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size).compress(data)


def streamed(data: bytes) -> bytes:
    """As a pipe is packed: the size is not known in advance, and there are several blocks."""
    buffer = io.BytesIO()
    with zstandard.ZstdCompressor(write_checksum=True).stream_writer(buffer, closefd=False) as out:
        for start in range(0, len(data), 1000):
            out.write(data[start : start + 1000])
            out.flush()
    return buffer.getvalue()


SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "with checksum": lambda data: packed(data, checksum=True),
    "without checksum": packed,
    "without size": lambda data: packed(data, checksum=True, size=False),
    "a pipe": streamed,
    "two frames": lambda data: packed(data, checksum=True) * 2,
    "something to skip": lambda data: SKIPPED + packed(data, checksum=True) + SKIPPED,
}
DATA = {
    "nothing": b"",
    "one byte": b"x",
    "a repeated byte": b"x" * 300_000,
    "noise": bytes(range(256)) * 20,
    "long": b"".join(i.to_bytes(4, "big") for i in range(100_000)),
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_is_whole_is_taken(shape: Callable[[bytes], bytes], data: bytes) -> None:
    expect_whole(io.BytesIO(shape(data)))


@given(shape=st.sampled_from(sorted(SHAPES)), data=st.sampled_from(sorted(DATA)), cut=st.integers(1, 400_000))
def test_what_lost_its_end_is_not(shape: str, data: str, cut: int) -> None:
    whole = SHAPES[shape](DATA[data])
    ends = {len(SKIPPED), len(whole) // 2, len(whole) - len(SKIPPED)}  # where another frame would begin
    left = whole[: max(len(whole) - cut, 0)]
    if left and len(left) not in ends:
        with pytest.raises(ValueError, match="cut short"):
            expect_whole(io.BytesIO(left))


def test_what_follows_a_frame_is_a_frame() -> None:
    with pytest.raises(ValueError, match="is none"):
        expect_whole(io.BytesIO(packed(b"x") + b"garbage"))


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_an_archive_whose_last_checksum_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    whole = packed(archives.tarred(SOUND), checksum=True)
    source = archives.saved(tmp_path, whole[:-cut])

    assert "it is cut short: its last Zstandard frame has no end" in refusal(source)
