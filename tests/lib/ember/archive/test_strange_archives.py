"""Archives that no archiver writes: each is refused whole, soon, and with the reason; none is read in part."""

import bz2
import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from tasks.lib.ember.archive.inventory import inspect
from tasks.lib.ember.archive.source import open_archive
from tests.lib.ember import archives
from tests.lib.ember.archive.test_inventory import EMBER, SOUND, limited, refusal
from tests.lib.ember.archives import END, headers_changed, member, pax

INDEX = member("index.html", b"<html>")
CENTRAL, LOCAL, END_RECORD = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


def paths(source: str) -> list[str]:
    """What an archive that is taken holds."""
    return [entry.path for entry in inspect(open_archive(source, EMBER.limits), "p/", EMBER).entries]


def directory_of(count: int) -> bytes:
    """So many entries of a zip's directory, each as short as they can be."""
    return (CENTRAL + bytes(24) + struct.pack("<HHHHHLL", 1, 0, 0, 0, 0, 0, 0) + b"a") * count


def end_record(count: int, size: int, start: int) -> bytes:
    return struct.pack("<4sHHHHLLH", END_RECORD, 0, 0, count, count, size, start, 0)


MORE = "a header is damaged, or there is more after the marker at its end"
# The second from Python 3.13.5 on, whose tarfile takes it for damage.
NEGATIVE_SIZE = ("a member claims a negative size", MORE)
CUT = "it is cut short: the marker at its end is missing"
DAMAGED = headers_changed(member("a.js"), 5, b"?", mend=False)
ENDLESS = "a member claims 154,135,671,558,081,661,678,616,447 bytes, more than ember.limits (total_size, ratio) allow"
SPARSE = pax(b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.name=s", b"GNU.sparse.realsize=9")
OLD_SPARSE = headers_changed(tarfile.TarInfo("s").tobuf(), 156, b"S", (482, b"\1"))
HUGE = headers_changed(tarfile.TarInfo("n").tobuf(), 124, b"\x80" + b"\x7f" * 11)
NEGATIVE = headers_changed(tarfile.TarInfo("n").tobuf(), 124, b"\xff" * 11 + b"\0")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (INDEX + DAMAGED + member("b.js") + END, MORE),
        (INDEX + b"\xff" * 512 + member("b.js") + END, MORE),
        (INDEX + member("b.js")[:300], CUT),
        (INDEX + headers_changed(member("b.js", b""), 5, b"?", mend=False) + END, MORE),
        (INDEX + END + member("b.js") + END, MORE),
        (INDEX + bytes(512) + member("b.js") + END, MORE),
        (INDEX + member("a", b"data", tarfile.DIRTYPE) + END, MORE),
        (pax(b"path=a.js") * 3000 + INDEX + END, "too many header extensions follow each other"),
        (pax(b"size=-5") + member("a.js") + INDEX + END, NEGATIVE_SIZE),
        (INDEX + NEGATIVE + END, NEGATIVE_SIZE),
        (INDEX + HUGE + END, ENDLESS),
        (OLD_SPARSE, "a header is cut short"),
    ],
    ids=[
        "a damaged header", "garbage between members", "cut in a header", "a damaged header at the end", "two archives after each other",
        "members after a block of zeros", "a folder with bytes", "extensions without end", "negative by attribute",
        "negative by header", "an endless member", "cut in a sparse map",
    ],
)  # fmt: skip
@pytest.mark.parametrize("packing", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_a_tar_is_read_to_its_end_or_not_at_all(
    tmp_path: Path, data: bytes, reason: str | tuple[str, ...], packing: type[bytes]
) -> None:
    said = refusal(archives.saved(tmp_path, packing(data)))

    assert "it cannot be read to its end: " in said
    assert said.endswith(reason)


@pytest.mark.parametrize("lasting", [tarfile.XHDTYPE, tarfile.XGLTYPE], ids=["of one member", "of all"])
def test_attributes_that_fill_memory_together_are_refused(tmp_path: Path, lasting: bytes) -> None:
    attributes = b"".join(pax(b"k%d=" % number + b"v" * 400_000, kind=lasting) for number in range(3))
    source = archives.saved(tmp_path, gzip.compress(attributes + INDEX + END))
    assert "the headers of a member take more than 1,048,576 bytes" in refusal(source)


def test_global_attributes_are_counted_across_members(tmp_path: Path) -> None:
    attributes = [pax(b"k%d=" % n + b"v" * 400_000, kind=tarfile.XGLTYPE) + member(f"{n}") for n in range(3)]
    assert "attributes of all members take more than 1,048,576 bytes" in refusal(
        archives.saved(tmp_path, INDEX + b"".join(attributes) + END)
    )


@pytest.mark.parametrize(
    "data",
    [
        SPARSE + member("s", b"1\n0\n9\n".ljust(512, b"\0") + b"x" * 9),
        OLD_SPARSE + (b"00000000001\x00" * 42 + b"\0" * 8),
        pax(b"GNU.sparse.map=0,5", b"GNU.sparse.size=10", b"GNU.sparse.name=s") + member("s", b"abcde"),
    ],
    ids=["a map before the bytes", "a map in blocks after the header", "a map in attributes"],
)
def test_a_sparse_file_is_refused(tmp_path: Path, data: bytes) -> None:
    source = archives.saved(tmp_path, gzip.compress(data + INDEX + END))
    assert refusal(source).endswith("uploaded.\n- s: it is a sparse file, not a file")


@pytest.mark.parametrize(
    "data",
    [
        SPARSE + member("s", b"99999999\n" + b"0\n" * (1 << 20)),
        OLD_SPARSE + (b"00000000001\x00" * 42 + b"\x01" + bytes(7)) * 3000 + bytes(512),
    ],
    ids=["before the bytes", "in blocks after the header"],
)
def test_a_map_of_a_sparse_file_without_end_is_not_read(tmp_path: Path, data: bytes) -> None:
    source = archives.saved(tmp_path, gzip.compress(data + INDEX + END))
    assert "the headers of a member take more than 1,048,576 bytes" in refusal(source)


@pytest.mark.parametrize("attribute", [b"path=caf\xe9.js", b"hdrcharset=BINARY\0path=caf\xe9.js"])
def test_a_name_in_another_encoding_is_refused(tmp_path: Path, attribute: bytes) -> None:
    source = archives.saved(tmp_path, pax(*attribute.split(b"\0")) + member("x") + INDEX + END)
    assert refusal(source).endswith("- caf\\udce9.js: its name is not UTF-8")


def test_a_name_is_read_the_same_whatever_this_machine_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tarfile, "ENCODING", "iso8859-1")
    monkeypatch.setattr(tarfile.TarFile, "encoding", "iso8859-1")
    source = archives.saved(tmp_path, INDEX + member("caf\u00e9.js") + END)
    assert paths(source) == ["index.html", "caf\u00e9.js"]


def test_a_tar_from_before_there_was_a_magic_is_read(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, headers_changed(INDEX, 257, bytes(8)) + END)
    assert paths(source) == ["index.html"]


def test_a_file_called_like_a_folder_is_refused(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, INDEX + member("a/", kind=tarfile.CONTTYPE) + END)
    assert refusal(source).endswith("- a/: it is a file, and called like a folder")


def test_a_folder_of_a_zip_that_holds_bytes_is_refused(tmp_path: Path) -> None:
    assert refusal(archives.saved(tmp_path, archives.zip_with("a/", b"data"))).endswith(
        "- a/: it is a folder, and holds 4 bytes"
    )


def test_a_link_that_an_apple_packed_is_refused(tmp_path: Path) -> None:
    data = bytearray(archives.zip_with("evil", b"/etc/passwd", 0o120777))
    data[data.rfind(CENTRAL) + 5] = 19
    assert refusal(archives.saved(tmp_path, bytes(data))).endswith(
        "- evil: it is a symbolic link, not a file"
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_by_a_method_without_bounds_is_refused(tmp_path: Path, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        out.writestr("index.html", b"<html>")
    source = archives.saved(tmp_path, buffer.getvalue())
    assert refusal(source).endswith("- index.html: it is packed by another method than deflate")


def test_a_bomb_that_claims_to_be_small_is_never_unpacked(tmp_path: Path) -> None:
    data = bytearray(archives.zip_with("bomb", bz2.compress(bytes(1 << 20))))
    at = data.rfind(CENTRAL)
    struct.pack_into("<H", data, at + 10, zipfile.ZIP_BZIP2)
    assert "- bomb: it is packed by another method" in refusal(archives.saved(tmp_path, bytes(data)))


def test_a_bomb_of_many_members_is_refused_by_their_ratio_together(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({**SOUND, "a": bytes(9 << 20), "b": bytes(9 << 20)}))
    assert refusal(source).endswith("it unpacks to more than 300 times its packed size (ember.limits.ratio)")


def test_a_directory_with_more_entries_than_it_states_is_not_even_read(tmp_path: Path) -> None:
    directory = directory_of(500)
    source = archives.saved(tmp_path, LOCAL + bytes(26) + directory + end_record(1, len(directory), 30))
    assert refusal(source, limited(members=400)) == (
        "The zip archive is refused before it is read.\n"
        "Its directory lists more than 400 members (ember.limits.members)."
    )


def test_a_directory_that_only_the_large_record_tells_of_is_not_even_read(tmp_path: Path) -> None:
    directory = directory_of(500)
    at = 30 + len(directory)
    large = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 500, 500, len(directory), 30)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    data = LOCAL + bytes(26) + directory + large + locator + end_record(1, 47, 30)
    why = refusal(archives.saved(tmp_path, data), limited(members=400))
    assert why.startswith("The zip archive is refused before it is read.")


def test_a_record_in_the_comment_hides_nothing(tmp_path: Path) -> None:
    data = archives.zipped({**SOUND, "a.js": b""})
    source = archives.saved(tmp_path, data[:-2] + struct.pack("<H", 22) + end_record(0, 0, 0))
    assert refusal(source).endswith("- it holds no files")


def test_a_member_called_otherwise_in_front_of_its_bytes_is_refused(tmp_path: Path) -> None:
    data = bytearray(archives.zipped({**SOUND, "other.js": b""}))
    at = data.find(b"other.js")
    data[at : at + 5] = b"thher"
    assert "- other.js: it cannot be read: File name in directory" in refusal(
        archives.saved(tmp_path, bytes(data))
    )


def test_two_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    data = archives.zipped({**SOUND, "a.js": os.urandom(3000)})
    start, end = data.find(CENTRAL), data.rfind(END_RECORD)
    again = data[data.rfind(CENTRAL) : end].replace(b"a.js", b"b.js")
    source = archives.saved(tmp_path, data[:end] + again + end_record(3, end + len(again) - start, start))
    assert "- b.js: it cannot be read: " in refusal(source)


@pytest.mark.parametrize("cut", [200, 3000, -10])
def test_a_truncated_zip_is_refused(tmp_path: Path, cut: int) -> None:
    data = archives.zipped({**SOUND, "a.js": os.urandom(6000)})
    assert refusal(archives.saved(tmp_path, data[:cut])).startswith("The zip archive cannot be read.")


def test_a_zip_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("index.html", b"<html>")
    assert paths(archives.saved(tmp_path, pipe.getvalue())) == ["index.html"]


@pytest.mark.parametrize(
    ("written", "read"), [("caf\u00e9.js".encode(), "caf\u00e9.js"), (b"caf\x82.js", "caf\u00e9.js")]
)
def test_a_zip_without_the_flag_for_utf_8_is_read_as_its_names_can_be(
    tmp_path: Path, written: bytes, read: str
) -> None:
    placeholder = b"x" * len(written)
    data = archives.zipped({**SOUND, placeholder.decode(): b""}).replace(placeholder, written)
    assert paths(archives.saved(tmp_path, data)) == ["index.html", read]


def test_a_file_where_others_have_a_folder_by_another_case_is_refused(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({**SOUND, "assets/a.js": b"", "Assets": b""}))
    assert refusal(source).endswith("- assets/a.js: Assets is a file, and cannot hold it")


def test_a_name_without_end_is_cut_where_it_is_told(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.tarred({**SOUND, "x" * 60_000: b""}))
    assert len(refusal(source)) < 1200


def test_an_archive_that_comes_through_a_pipe_is_read(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, archives.tar_gz(SOUND))
    os.close(write_end)
    assert paths(f"/dev/fd/{read_end}") == ["index.html"]
    os.close(read_end)
