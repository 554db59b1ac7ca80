"""Archives of every kind, sound and not, made in memory."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import zstandard

Files = Mapping[str, bytes]


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Files, *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        for info in extra:
            out.addfile(info)
    return buffer.getvalue()


def tar_gz(files: Files) -> bytes:
    return gzip.compress(tarred(files), compresslevel=4)


def tar_zst(files: Files) -> bytes:
    return zstandard.compress(tarred(files))


KINDS: Mapping[str, Callable[[Files], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": tar_gz,
    "tar.zst": tar_zst,
}


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def zip_with(name: str, data: bytes = b"x", mode: int = 0, flags: int = 0) -> bytes:
    """A zip with index.html and one entry of this name, Unix mode and flags."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("index.html", b"<html>")
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.create_system = 3
        info.external_attr = mode << 16
        out.writestr(info, data)
        info.flag_bits |= flags
    return buffer.getvalue()


def saved(folder: Path, data: bytes, name: str = "archive") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> bytes:
    """One member of a tar, without the marker at an archive's end."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def pax(*attributes: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A header that gives the next member, or all that follow, these `key=value` attributes."""
    return member("attributes", b"".join(_record(attribute) for attribute in attributes), kind)


def _record(attribute: bytes) -> bytes:
    """An attribute after its own length, which counts its own digits."""
    length = len(attribute) + 3
    while len(b"%d %s\n" % (length, attribute)) != length:
        length += 1
    return b"%d %s\n" % (length, attribute)


def headers_changed(data: bytes, at: int, value: bytes, *more: tuple[int, bytes], mend: bool = True) -> bytes:
    """A tar whose first header has other bytes, with a checksum that fits unless `mend` is false."""
    changed = bytearray(data)
    for start, put in ((at, value), *more):
        changed[start : start + len(put)] = put
    if mend:
        changed[148:156] = b" " * 8
        changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


END = bytes(10240)
