"""The task upload as a person runs it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import google_side
from tests.builders import ROOT
from tests.program import Here

UPLOAD = ("upload", "--environment", "staging", "--prefix", "experiments/x")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a storage server that takes requests and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_an_upload_that_reaches_its_limit_ends_with_how_to_go_on(silent: str, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "index.html").write_text("<title>x</title>")
    google = tmp_path / "google"
    google.mkdir()
    with google_side.served(google) as url:
        key = google_side.key_file(google, url, "uploader", ())
        settings = {
            "INVOKE_GOOGLE_STORAGE": silent,
            "INVOKE_GOOGLE_CREDENTIALS_FILE": key,
            "INVOKE_TIME_LIMITS_UPLOAD": "0.5s",
        }
        done = subprocess.run(
            [sys.executable, "-m", "tasks", *UPLOAD, "--archive", str(app)],
            cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 70, done.stderr
    assert "The upload took longer than 0.5 s and was ended." in done.stderr
    assert "it goes on where this one ended" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [(), ("--archive", ""), ("--archive", "/no/such/app.zip")])
def test_where_no_archive_is_there_nothing_is_uploaded_if_that_is_allowed(
    here: Here, options: tuple[str, ...]
) -> None:
    done = here.inv(*UPLOAD, "--if-present", *options)

    assert done.code == 0, done.stderr
    assert "so nothing is uploaded." in done.stderr


def test_an_archive_that_cannot_be_looked_at_is_not_taken_for_missing(here: Here) -> None:
    done = here.inv(*UPLOAD, "--if-present", "--archive", "x" * 300)

    assert done.code == 1, done.stderr
    assert "so nothing is uploaded." not in done.stderr
    assert "Traceback" not in done.stderr
