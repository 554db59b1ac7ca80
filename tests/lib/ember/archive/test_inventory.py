"""What makes an archive unsafe, found before anything is uploaded."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from tasks.lib.ember.archive.inventory import inspect
from tasks.lib.ember.archive.source import open_archive
from tasks.lib.errors import Failure
from tasks.lib.settings.ember import Ember
from tests.builders import checked_in_settings
from tests.lib.ember import archives

EMBER = checked_in_settings().ember
SOUND = {"index.html": b"<html>"}


def refusal(source: str, ember: Ember = EMBER, prefix: str = "p/") -> str:
    """Why an archive is refused."""
    with pytest.raises(Failure) as caught:
        inspect(open_archive(source, ember.limits), prefix, ember)
    return f"{caught.value.what}\n{caught.value.why}"


def limited(**limits: object) -> Ember:
    return checked_in_settings(ember={"limits": limits}).ember


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up.js", "its path leads out of the archive (..)"),
        ("assets/../../up.js", "its path leads out of the archive (..)"),
        ("/etc/passwd", "its path is absolute"),
        ("C:/windows.js", "its path starts with a drive letter"),
        ("assets\\app.js", "its path holds a backslash"),
        ("a//b.js", "its path has an empty part or a ."),
        ("a/./b.js", "its path has an empty part or a ."),
        ("line\nbreak.js", "its name holds a control character"),
        ("photo\u202egpj.js", "its name holds a character that changes the direction of text"),
        ("x" * 1023, "with its prefix its name takes more than 1024 bytes"),
    ],
)
def test_a_name_is_refused(tmp_path: Path, kind: str, name: str, reason: str) -> None:
    source = archives.saved(tmp_path, archives.KINDS[kind]({**SOUND, name: b"x"}))
    shown = name.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert refusal(source) == f"The archive is refused; nothing was uploaded.\n- {shown}: {reason}"


def test_a_name_reserved_by_cloud_storage_is_refused(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({**SOUND, "x": b"x"}))
    assert "Cloud Storage refuses names under" in refusal(source, prefix=".well-known/acme-challenge/")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "it is a symbolic link, not a file"),
        (tarfile.LNKTYPE, "it is a hard link, not a file"),
        (tarfile.CHRTYPE, "it is a device, not a file"),
        (tarfile.BLKTYPE, "it is a device, not a file"),
        (tarfile.FIFOTYPE, "it is a device, not a file"),
    ],
)
def test_a_tar_member_that_is_no_file_is_refused(tmp_path: Path, kind: bytes, reason: str) -> None:
    source = archives.saved(tmp_path, archives.tarred(SOUND, archives.special("evil", kind, "/etc/passwd")))
    assert refusal(source).endswith(f"- evil: {reason}")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zip_with("evil", b"/etc/passwd", stat.S_IFLNK | 0o777))
    assert refusal(source).endswith("- evil: it is a symbolic link, not a file")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zip_with("secret.js", flags=0x1))
    assert refusal(source).endswith("- secret.js: it is encrypted")


def test_links_and_pipes_in_a_folder_are_refused_together(app: Path) -> None:
    (app / "link.js").symlink_to("/etc/passwd")
    os.mkfifo(app / "pipe")
    why = refusal(str(app))
    assert "- link.js: it is a symbolic link, not a file" in why
    assert "- pipe: it is a named pipe, not a file" in why


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("assets/App.js", "it differs from assets/app.js only by case or Unicode form"),
        ("assets/app.js", "it is there twice"),
        ("assets/app.js/x", "assets/app.js is a file, and cannot hold it"),
    ],
)
def test_names_that_clash_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for member in ("index.html", "assets/app.js", name):
            out.addfile(tarfile.TarInfo(member))
    assert refusal(archives.saved(tmp_path, buffer.getvalue())).endswith(f"- {name}: {reason}")


def test_the_same_name_in_two_unicode_forms_is_refused(tmp_path: Path) -> None:
    source = archives.saved(
        tmp_path, archives.zipped({**SOUND, "caf\u00e9.png": b"1", "cafe\u0301.png": b"2"})
    )
    assert "only by case or Unicode form" in refusal(source)


def test_all_problems_are_listed_together(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({**SOUND, "../a": b"", "/b": b"", "c\\d": b""}))
    assert refusal(source).count("\n- ") == 3


def test_a_damaged_member_is_named_beside_a_bad_name(tmp_path: Path) -> None:
    data = bytearray(archives.zipped({**SOUND, "../up.js": b"", "a.bin": bytes(range(256)) * 40}))
    at = data.rfind(b"PK\x01\x02") + 16
    data[at] ^= 1
    why = refusal(archives.saved(tmp_path, bytes(data)))
    assert "- ../up.js: its path leads out of the archive (..)\n- a.bin: it cannot be read: Bad CRC-32" in why


def test_a_damaged_zip_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(archives.zipped({**SOUND, "a.bin": bytes(range(256)) * 40}))
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        info = whole.getinfo("a.bin")
    struct.pack_into("<L", data, data.rfind(b"PK\x01\x02") + 16, info.CRC ^ 1)
    assert "- a.bin: it cannot be read: Bad CRC-32" in refusal(archives.saved(tmp_path, bytes(data)))


def test_a_zip_member_that_claims_too_little_is_refused(tmp_path: Path) -> None:
    data = bytearray(archives.zipped({**SOUND, "a.bin": bytes(5000)}))
    struct.pack_into("<L", data, data.rfind(b"PK\x01\x02") + 24, 100)
    assert "- a.bin: it cannot be read: Bad CRC-32" in refusal(archives.saved(tmp_path, bytes(data)))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst"])
def test_a_truncated_tar_is_refused(tmp_path: Path, kind: str) -> None:
    data = archives.KINDS[kind]({**SOUND, "a.bin": os.urandom(60000)})
    assert "it cannot be read to its end" in refusal(archives.saved(tmp_path, data[: len(data) // 2]))


def test_a_tar_cut_between_members_is_refused(tmp_path: Path) -> None:
    data = archives.tarred(SOUND)[:1024]
    assert "the marker at its end is missing" in refusal(archives.saved(tmp_path, data))


def test_a_gzip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    data = bytearray(archives.tar_gz(SOUND))
    data[-8] ^= 1
    assert "it cannot be read to its end: CRC check failed" in refusal(archives.saved(tmp_path, bytes(data)))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.zst"])
def test_a_bomb_by_ratio_is_refused(tmp_path: Path, kind: str) -> None:
    data = archives.KINDS[kind]({**SOUND, "zeros.bin": bytes(20 << 20)})
    assert "ratio" in refusal(archives.saved(tmp_path, data))


def test_a_bomb_by_count_is_refused(tmp_path: Path) -> None:
    data = archives.zipped({**SOUND, **{f"{n}.txt": b"" for n in range(20)}})
    assert "more than 10 members (ember.limits.members)" in refusal(
        archives.saved(tmp_path, data), limited(members=10)
    )


def test_a_directory_too_long_for_its_limit_is_not_even_read(tmp_path: Path) -> None:
    data = archives.zipped({**SOUND, **{f"{'x' * 200}{n}.txt": b"" for n in range(20)}})
    why = refusal(archives.saved(tmp_path, data), limited(members=1))
    assert why.startswith("The zip archive is refused before it is read.")


@pytest.mark.parametrize("kind", archives.KINDS)
def test_a_bomb_by_size_is_refused(tmp_path: Path, kind: str) -> None:
    source = archives.saved(
        tmp_path, archives.KINDS[kind]({**SOUND, "a": os.urandom(5000), "b": os.urandom(5000)})
    )
    assert "more than ember.limits.total_size" in refusal(source, limited(total_size="9000B"))
    assert "- a: it unpacks to 5,000 bytes, more than ember.limits.member_size" in refusal(
        source, limited(member_size="4000B")
    )


def test_a_header_extension_that_fills_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 64 << 20
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20) + archives.tarred(SOUND)
    data = gzip.compress(content, compresslevel=1)
    assert "the headers of a member take more than 1,048,576 bytes" in refusal(archives.saved(tmp_path, data))


def test_an_archive_without_index_html_is_refused(tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({"a/x.js": b"", "b/index.html": b""}))
    assert refusal(source) == "The archive holds no built Ember app.\nThere is no index.html at its top."


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    assert refusal(archives.saved(tmp_path, archives.zipped({}))).endswith("- it holds no files")


APP = b"console.log(1);" * 20


def broken(tmp_path: Path, kind: str, files: dict[str, bytes]) -> list[str]:
    """What would keep a browser from running an app."""
    source = archives.saved(tmp_path, archives.KINDS[kind](files))
    return inspect(open_archive(source, EMBER.limits), "p/", EMBER).broken


@pytest.mark.parametrize("kind", archives.KINDS)
@pytest.mark.parametrize("size", [1, 200_000], ids=["small", "in pieces"])
def test_a_file_that_is_gzip_under_its_own_name_is_broken(tmp_path: Path, kind: str, size: int) -> None:
    packed = gzip.compress(os.urandom(size * 8), compresslevel=1)
    files = {
        "index.html": b"<script src=app.js></script>", "app.js": packed, "data.bin": packed, "dump.gz": packed,
        "style.css": b"a{}", "notes.txt": b"\x1f\x8b",
    }  # fmt: skip

    assert broken(tmp_path, kind, files) == [
        "app.js: it is gzip already, and would be served as text/javascript; charset=utf-8 all the same"
    ]
