"""Whether a Zstandard file is whole: the library's reader takes a cut in the last checksum for the end.

Source: RFC 8878, sections 3.1.1 (frames), 3.1.1.2 (blocks) and 3.1.2 (skippable frames).
"""

import io
from typing import IO

MAGIC = 0xFD2FB528
SKIPPABLE = range(0x184D2A50, 0x184D2A60)
CHECKSUM_SIZE = 4
DICTIONARY_ID_SIZES = (0, 1, 2, 4)
CONTENT_SIZE_SIZES = (0, 2, 4, 8)
RLE_BLOCK = 1


def expect_whole(file: IO[bytes]) -> None:
    """Walk over the frames of `file`, from its beginning to its end, without unpacking them.

    Raises:
        ValueError: the last one is cut short.

    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    while file.tell() < size:
        magic = _number(file, 4)
        if magic in SKIPPABLE:
            file.seek(_number(file, 4), io.SEEK_CUR)
        elif magic == MAGIC:
            _pass_frame(file)
        else:
            raise ValueError("what follows a Zstandard frame is none")
    if file.tell() > size:
        raise _cut()


def _pass_frame(file: IO[bytes]) -> None:
    descriptor = _number(file, 1)
    single_segment = bool(descriptor & 0x20)
    content_size = CONTENT_SIZE_SIZES[descriptor >> 6] or int(single_segment)
    window = int(not single_segment)
    file.seek(window + DICTIONARY_ID_SIZES[descriptor & 0x3] + content_size, io.SEEK_CUR)
    last = False
    while not last:
        header = _number(file, 3)
        last, kind, size = bool(header & 1), header >> 1 & 0x3, header >> 3
        file.seek(1 if kind == RLE_BLOCK else size, io.SEEK_CUR)
    if descriptor & 0x4:
        file.seek(CHECKSUM_SIZE, io.SEEK_CUR)


def _number(file: IO[bytes], size: int) -> int:
    data = file.read(size)
    if len(data) < size:
        raise _cut()
    return int.from_bytes(data, "little")


def _cut() -> ValueError:
    return ValueError("it is cut short: its last Zstandard frame has no end")
