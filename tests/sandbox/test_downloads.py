"""Downloads against a real HTTP server: what matches its digest is used, nothing else."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox import downloads
from sandbox.downloads import Release
from tests.serving import answering

PROGRAM = b"#!/bin/sh\necho v1\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Release], None]]:
    """A publisher whose files lie in tmp_path/site; call it with the release that shall be fetched."""
    monkeypatch.setattr(downloads, "_unreachable", set())
    (tmp_path / "site").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    base = f"http://127.0.0.1:{server.server_port}"

    monkeypatch.setattr(downloads, "DIGESTS", tmp_path / "digests.json")
    downloads.DIGESTS.write_text("{}")

    def publish(wanted: Release) -> None:
        found = Release(f"{base}/{wanted.url}", f"{base}/{wanted.checksums}", wanted.member)
        monkeypatch.setattr(downloads, "release", lambda *_: found)

    with answering(server):
        yield publish


def test_a_program_is_fetched(tmp_path: Path, site: Callable[[Release], None]) -> None:
    (tmp_path / "site" / "prog").write_bytes(PROGRAM)
    (tmp_path / "site" / "prog.sha256").write_text(hashlib.sha256(PROGRAM).hexdigest())
    site(Release("prog", "prog.sha256"))

    found = downloads.fetch("prog", "v1", tmp_path)

    assert found
    assert found.read_bytes() == PROGRAM


def test_a_pinned_digest_decides_whatever_the_publisher_states(
    tmp_path: Path, site: Callable[[Release], None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site" / "prog").write_bytes(PROGRAM)
    (tmp_path / "site" / "prog.sha256").write_text(hashlib.sha256(PROGRAM).hexdigest())
    site(Release("prog", "prog.sha256"))
    url = downloads.release("prog", "v1", "amd64").url

    downloads.DIGESTS.write_text(json.dumps({url: "0" * 64}))
    assert downloads.fetch("prog", "v1", tmp_path) is None
    assert "No digest is pinned" not in capsys.readouterr().err

    downloads.DIGESTS.write_text(json.dumps({url: hashlib.sha256(PROGRAM).hexdigest()}))
    (tmp_path / "site" / "prog.sha256").unlink()
    assert downloads.fetch("prog", "v1", tmp_path)


def test_a_program_without_a_pinned_digest_says_so(
    tmp_path: Path, site: Callable[[Release], None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site" / "prog").write_bytes(PROGRAM)
    (tmp_path / "site" / "prog.sha256").write_text(hashlib.sha256(PROGRAM).hexdigest())
    site(Release("prog", "prog.sha256"))

    assert downloads.fetch("prog", "v1", tmp_path)
    assert "No digest is pinned for prog (`nox -s digests`)" in capsys.readouterr().err


def test_a_program_is_taken_out_of_its_archive(
    tmp_path: Path, site: Callable[[Release], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian 12's Python, 3.11.2, extracts without a filter or not at all."""
    monkeypatch.delattr(tarfile.TarFile, "extract")
    archive = tmp_path / "site" / "prog.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        entry = tarfile.TarInfo("prog-v1/prog")
        entry.size = len(PROGRAM)
        file.addfile(entry, io.BytesIO(PROGRAM))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path / "site" / "SHA256SUMS").write_text(f"{digest}  prog.tar.gz\n")
    site(Release("prog.tar.gz", "SHA256SUMS", "prog-v1/prog"))

    found = downloads.fetch("prog", "v1", tmp_path)

    assert found
    assert found.read_bytes() == PROGRAM


@pytest.mark.parametrize(
    ("checksum", "words"),
    [
        ("0" * 64, "does not match its digest; it is not used."),
        ("not a checksum", "cannot be used here (no checksum is published for prog)."),
    ],
)
def test_a_program_that_cannot_be_checked_is_not_used(
    tmp_path: Path,
    site: Callable[[Release], None],
    capsys: pytest.CaptureFixture[str],
    checksum: str,
    words: str,
) -> None:
    (tmp_path / "site" / "prog").write_bytes(PROGRAM)
    (tmp_path / "site" / "prog.sha256").write_text(checksum)
    site(Release("prog", "prog.sha256"))

    assert downloads.fetch("prog", "v1", tmp_path) is None
    assert words in capsys.readouterr().err


def test_a_host_that_failed_is_not_asked_again(
    tmp_path: Path, site: Callable[[Release], None], capsys: pytest.CaptureFixture[str]
) -> None:
    site(Release("missing", "missing.sha256"))

    assert downloads.fetch("prog", "v1", tmp_path) is None
    assert downloads.fetch("prog", "v1", tmp_path) is None
    assert capsys.readouterr().err.count("cannot be used here") == 1


def test_a_machine_that_nobody_builds_for_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ARCHITECTURES", {})

    assert downloads.fetch("prog", "v1", tmp_path) is None
    assert list(tmp_path.iterdir()) == []
