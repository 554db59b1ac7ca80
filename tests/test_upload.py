"""The task upload as a person runs it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import google_side
from tests.builders import ROOT
from tests.program import Here

UPLOAD = ("upload", "--environment", "staging", "--prefix", "experiments/x")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A storage server that takes requests and never answers."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        made.settimeout(120)
        yield made


@pytest.fixture
def silent(listening: socket.socket) -> str:
    """Its address."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def asked(listening: socket.socket) -> Callable[[], None]:
    """Waits until somebody has asked it something."""

    def wait() -> None:
        connection, _ = listening.accept()
        connection.recv(1)

    return wait


@pytest.fixture
def uploads(silent: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins `./inv upload` of one archive, or of a site of six, to the silent server."""
    lines = []
    for number in range(6):
        app = tmp_path / f"app-{number}"
        app.mkdir()
        (app / "index.html").write_text("<head><title>x</title>")
        lines.append(f"uuid-{number}: app-{number}")
    (tmp_path / "site.yaml").write_text("\n".join(lines))
    (tmp_path / "google").mkdir()
    with google_side.served(tmp_path / "google") as url:
        key = google_side.key_file(tmp_path / "google", url, "uploader", ())
        started: list[subprocess.Popen[str]] = []

        def begin(*options: str, limit: str) -> subprocess.Popen[str]:
            settings = {
                "INVOKE_GOOGLE_STORAGE": silent,
                "INVOKE_GOOGLE_CREDENTIALS_FILE": key,
                "INVOKE_TIME_LIMITS_UPLOAD": limit,
            }
            argv = [sys.executable, "-m", "tasks", "upload", "--environment", "staging"]
            process = subprocess.Popen(
                [*argv, *(option.format(tmp_path) for option in options)],
                cwd=ROOT, env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            started.append(process)
            return process

        yield begin
        for process in started:
            process.kill()
            process.communicate()


ONE = ("--prefix", "experiments/x", "--archive", "{}/app-0")
SITE = ("--manifest", "{}/site.yaml")


def test_a_timed_out_upload_says_how_to_continue(
    uploads: Callable[..., subprocess.Popen[str]],
) -> None:
    process = uploads(*ONE, limit="0.5s")
    _, told = process.communicate(timeout=120)

    assert process.returncode == 70, told
    assert "The upload took longer than 0.5 s and was ended." in told
    assert "it goes on where this one ended" in told
    assert "Traceback" not in told


def test_an_upload_ends_soon_after_a_signal(
    uploads: Callable[..., subprocess.Popen[str]], asked: Callable[[], None]
) -> None:
    process = uploads(*ONE, limit="45m")
    asked()
    process.terminate()
    _, told = process.communicate(timeout=120)

    assert process.returncode == 128 + signal.SIGTERM, told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("options", "number"),
    [((), signal.SIGINT), (("--dry-run",), signal.SIGTERM)],
    ids=["uploading, INT", "dry run, TERM"],
)
def test_an_interrupted_site_upload_lists_what_is_left(
    uploads: Callable[..., subprocess.Popen[str]],
    asked: Callable[[], None],
    tmp_path: Path,
    options: tuple[str, ...],
    number: signal.Signals,
) -> None:
    process = uploads(*SITE, *options, limit="45m")
    asked()
    process.send_signal(number)
    _, told = process.communicate(timeout=120)

    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    rest = tmp_path / "site.rest.yaml"
    assert "0 of 6 archives were done." in told
    assert rest.exists() is (not options)
    assert (f"{rest} lists the others." in told) is (not options)


def test_a_blocked_archive_does_not_block_a_signal(
    uploads: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "nobody-writes")
    (tmp_path / "site.yaml").write_text("uuid-0: app-0\nuuid-1: nobody-writes")
    process = uploads(*SITE, limit="0.5s")
    _, told = process.communicate(timeout=120)

    assert process.returncode == 70, told
    assert "The upload took longer than 0.5 s and was ended." in told
    assert "Traceback" not in told


@pytest.mark.parametrize("options", [(), ("--archive", ""), ("--archive", "/no/such/app.zip")])
def test_if_present_allows_a_missing_archive(here: Here, options: tuple[str, ...]) -> None:
    done = here.inv(*UPLOAD, "--if-present", *options)

    assert done.code == 0, done.stderr
    assert "nothing is uploaded." in done.stderr


def test_an_unreadable_archive_is_not_missing(here: Here) -> None:
    done = here.inv(*UPLOAD, "--if-present", "--archive", "x" * 300)

    assert done.code == 1, done.stderr
    assert "nothing is uploaded." not in done.stderr
    assert "Traceback" not in done.stderr
