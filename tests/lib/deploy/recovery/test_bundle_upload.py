"""A failed deploy's files go to a bucket; what keeps them from it is a warning."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tasks.lib.deploy.recovery import support_bundle
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.model import Settings
from tests import google_side
from tests.builders import checked_in_settings
from tests.serving import answering

URL = "gs://bucket/build-1"


class Storage(BaseHTTPRequestHandler):
    """Takes objects as Cloud Storage's uploads of one request do."""

    taken: dict[str, bytes]
    status: int

    def do_POST(self) -> None:
        asked = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert asked.path == "/upload/storage/v1/b/bucket/o"
        assert self.headers["Authorization"].startswith("Bearer ")
        self.taken[parse_qs(asked.query)["name"][0]] = body
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def storage() -> type[Storage]:
    return type("Own", (Storage,), {"taken": {}, "status": 200})


@pytest.fixture
def settings(tmp_path: Path, storage: type[Storage]) -> Iterator[Settings]:
    (tmp_path / "google").mkdir()
    with (
        google_side.served(tmp_path / "google") as google,
        answering(ThreadingHTTPServer(("127.0.0.1", 0), storage)) as server,
    ):
        file = google_side.key_file(tmp_path / "google", google, "builder", ("storage.objects.create",))
        address = f"http://127.0.0.1:{server.server_port}"
        yield checked_in_settings(google={"credentials_file": file, "storage": address})


def write_and_fail(folder: Path) -> None:
    (folder / "deploy.json").write_text("report")
    (folder / "evidence" / "record.json").write_text("bundle")
    raise Failure("as it should")


def fail(settings: Settings, folder: Path, url: str = URL) -> None:
    """A deploy that writes a report and a bundle, and fails."""
    (folder / "evidence").mkdir(parents=True)
    (folder / "evidence" / "earlier").write_text("of another deploy")
    with pytest.raises(Failure, match="as it should"), support_bundle.after_failure(settings, url, [folder]):
        write_and_fail(folder)


def test_what_a_failed_deploy_writes_is_copied(
    settings: Settings, storage: type[Storage], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(settings, tmp_path / "reports")

    assert storage.taken == {
        "build-1/reports/deploy.json": b"report", "build-1/reports/evidence/record.json": b"bundle",
    }  # fmt: skip
    assert "Copied 2 files of the support bundle to gs://bucket/build-1.\n" in capsys.readouterr().err


def test_a_deploy_that_succeeds_copies_nothing(
    settings: Settings, storage: type[Storage], tmp_path: Path
) -> None:
    with support_bundle.after_failure(settings, URL, [tmp_path]):
        (tmp_path / "deploy.json").write_text("report")

    assert storage.taken == {}


def test_without_a_bucket_nothing_is_copied(
    settings: Settings, storage: type[Storage], tmp_path: Path
) -> None:
    fail(settings, tmp_path / "reports", "")

    assert storage.taken == {}


def test_a_refused_copy_is_a_warning_beside_the_failure(
    settings: Settings, storage: type[Storage], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.status = 403

    fail(settings, tmp_path / "reports")

    told = "Warning: the support bundle could not be copied to gs://bucket/build-1: 403"
    assert told in capsys.readouterr().err
    assert len(storage.taken) == 1


@pytest.mark.parametrize("url", ["bucket/x", "gs://bucket", "gs:///x", "s3://bucket/x"])
def test_a_url_without_bucket_or_folder_is_refused_first(settings: Settings, url: str) -> None:
    with (
        pytest.raises(UsageError, match="--evidence-bucket"),
        support_bundle.after_failure(settings, url, []),
    ):
        pytest.fail("it was begun")
