"""Uploads to a real storage server, read back with Google's own client."""

import dataclasses
import gzip
import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from msgspec import structs

from tasks.lib.background import Background
from tasks.lib.ember import activation, inspection
from tasks.lib.ember.access import Access
from tasks.lib.ember.bringing import _side_by_side
from tasks.lib.ember.line import Line
from tasks.lib.ember.names import checked_prefix
from tasks.lib.ember.plan import plan
from tasks.lib.ember.question import LONGEST_FOR_A_STOP
from tasks.lib.ember.sending import STREAMS
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.wire import Job, Pool, Request, Stream
from tasks.lib.errors import Failure, UsageError
from tests.builders import checked_in_settings
from tests.lib.ember import archives

if TYPE_CHECKING:
    from google.cloud.storage import Blob

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
IN_PLACE = Options(in_place=True)


def blobs(access: Access) -> "dict[str, Blob]":
    """The objects of the bucket by path below PREFIX, as Google's client lists them."""
    from google.cloud import storage

    client = storage.Client(
        project="test", credentials=access.credentials, client_options={"api_endpoint": access.endpoint}
    )
    return {blob.name.removeprefix(f"{PREFIX}/"): blob for blob in client.list_blobs(access.bucket)}


def contents(access: Access) -> dict[str, bytes]:
    return {path: blob.download_as_bytes() for path, blob in blobs(access).items()}


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bucket_ends_equal_to_the_app(access: Access, app: Path) -> None:
    summary = upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert contents(access) == on_disk(app)
    assert (summary.sent, summary.unchanged, summary.files) == (10, 0, 10)


def test_the_url_serves_the_page(access: Access, app: Path) -> None:
    summary = upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert summary.url == f"{access.endpoint}/{access.bucket}/{PREFIX}/index.html"
    with urllib.request.urlopen(summary.url) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"


def test_objects_carry_their_headers(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    found = blobs(access)
    vendor = next(blob for path, blob in found.items() if "vendor" in path)
    assert (vendor.content_type, vendor.content_encoding) == ("text/javascript; charset=utf-8", "gzip")
    assert vendor.cache_control == "public, max-age=31536000, immutable"
    raw = vendor.download_as_bytes(raw_download=True)
    assert gzip.decompress(raw) == vendor.download_as_bytes()
    sound = found["sounds/chime.wav"]
    assert (sound.content_type, sound.content_encoding, sound.cache_control) == (
        "audio/wav",
        None,
        "no-cache",
    )


def test_an_unchanged_app_costs_one_request(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    again = upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert (again.sent, again.unchanged, again.requests) == (0, 10, 1)


def test_only_what_changed_is_sent(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    (app / "robots.txt").write_text("changed")
    again = upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert (again.sent, again.unchanged) == (1, 9)
    assert contents(access)["robots.txt"] == b"changed"


def test_large_files_are_sent_last_and_a_few_at_a_time(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More at once share the same line, and hold up small files, which wait for answers rather than for the line."""
    ember = structs.replace(EMBER, resumable_above=64 << 10, resumable_part=256 << 10)
    monkeypatch.setattr(inspection, "KEPT", 0)  # nothing is sent from memory, before all that is read again
    for name, size in [*((f"film-{n}.mp4", 300 << 10) for n in range(12)), ("z.js", 9), ("index.html", 9)]:
        (tmp_path / name).write_bytes(os.urandom(size))
    asked: list[str] = []
    at_once: list[int] = []
    send = Pool._send

    def noted(pool: Pool, job: Job, request: Request) -> None:
        send(pool, job, request)
        asked.append(request.url)
        at_once.append(sum(isinstance(one._request.body, Stream) for one in pool._running.values()))

    monkeypatch.setattr(Pool, "_send", noted)

    upload_to(access, ember, str(tmp_path), PREFIX, IN_PLACE)

    assert contents(access) == on_disk(tmp_path)
    assert 1 < max(at_once) <= STREAMS < 12
    assert "uploadType=multipart" in asked[1], "z.js comes before the films, after the listing"


def test_headers_that_drifted_are_mended_without_sending(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    blob = blobs(access)["robots.txt"]
    blob.cache_control = "public, max-age=3600"
    blob.patch()
    again = upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert (again.sent, again.relabelled) == (0, 1)
    assert blobs(access)["robots.txt"].cache_control == "no-cache"


@pytest.mark.parametrize("kind", archives.KINDS)
def test_every_kind_of_archive_arrives(access: Access, tmp_path: Path, kind: str) -> None:
    files = {
        "index.html": b"<html>", "big.bin": os.urandom(9 << 20), "text.js": b"let a = 1;" * 300_000,
        "small.bin": os.urandom(3 << 20), "bigger.bin": os.urandom(10 << 20), "zlast.txt": b"z",
    }  # fmt: skip
    source = archives.saved(tmp_path, archives.KINDS[kind](files))
    upload_to(access, EMBER, source, PREFIX, IN_PLACE)
    assert contents(access) == files
    assert upload_to(access, EMBER, source, PREFIX, IN_PLACE).sent == 0


def test_a_refused_archive_leaves_the_bucket_empty(access: Access, tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({"index.html": b"<html>", "../x": b""}))
    with pytest.raises(Failure, match="The archive is refused; nothing was uploaded"):
        upload_to(access, EMBER, source, PREFIX, IN_PLACE)
    assert contents(access) == {}


def test_a_missing_bucket_is_named(access: Access, app: Path) -> None:
    with pytest.raises(Failure) as caught:
        upload_to(dataclasses.replace(access, bucket="nowhere"), EMBER, str(app), PREFIX, IN_PLACE)
    assert caught.value.what == "The bucket nowhere could not be listed."
    assert "There is no bucket nowhere" in caught.value.why


def test_an_unreachable_endpoint_times_out(access: Access, app: Path) -> None:
    nowhere = dataclasses.replace(access, endpoint="http://127.0.0.1:9", limit=1.0)
    with pytest.raises(Failure) as caught:
        upload_to(nowhere, EMBER, str(app), PREFIX, IN_PLACE)
    assert "Could not connect" in caught.value.why
    assert caught.value.exit_code == 70


def test_somebody_elses_write_is_not_overwritten(
    access: Access, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_while_another_writes(*args: object) -> object:
        decided = plan(*args)  # type: ignore[arg-type]
        body = json.dumps({"name": f"{PREFIX}/robots.txt"}).encode()
        url = f"{access.upload_url()}?uploadType=media&name={PREFIX}/robots.txt"
        urllib.request.urlopen(urllib.request.Request(url, body)).close()
        return decided

    monkeypatch.setattr("tasks.lib.ember.bringing.plan", plan_while_another_writes)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert caught.value.what == f"{PREFIX}/robots.txt was changed by somebody else during this upload."
    assert "index.html is as it was" in caught.value.why
    assert "index.html" not in blobs(access)


@pytest.mark.parametrize("prefix", ["", "/", "/abs", "a/../b", "a//b"])
def test_a_prefix_that_is_no_clean_path_is_bad_usage(prefix: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        checked_prefix(prefix)


def test_what_the_app_does_not_have_goes_only_when_asked(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX)
    upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    (app / "robots.txt").unlink()
    kept = upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert (kept.to_remove, kept.removed) == ([f"{PREFIX}/robots.txt"], 0)
    gone = upload_to(access, EMBER, str(app), PREFIX, Options(in_place=True, delete_extra=True))
    assert gone.removed == 1
    left = contents(access)
    assert "robots.txt" not in left
    assert any(path.startswith("revisions/") and path.endswith("robots.txt") for path in left)


def test_an_app_may_have_a_folder_called_revisions(access: Access, app: Path) -> None:
    folder = app / "revisions"
    folder.mkdir()
    (folder / "list.json").write_text("[]")
    upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    (folder / "list.json").write_text("[1]")
    assert upload_to(access, EMBER, str(app), PREFIX, IN_PLACE).sent == 1
    assert contents(access)["revisions/list.json"] == b"[1]"


def test_a_dry_run_changes_nothing(access: Access, app: Path) -> None:
    summary = upload_to(access, EMBER, str(app), PREFIX, Options(in_place=True, dry_run=True))
    assert summary.to_send[-1] == f"{PREFIX}/index.html"
    assert len(summary.to_send) == summary.files == 10
    assert contents(access) == {}


class Hanging:
    """Credentials of a token service that hangs."""

    valid = False
    token = expiry = None

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()
        self.was_waited_out = False

    def refresh(self, _request: object) -> None:
        self.asked.set()
        self.was_waited_out = not self.answers.wait(120)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.answers.set()


def test_an_upload_that_ends_does_not_wait_out_a_token_service_that_hangs(
    access: Access, hanging: Hanging
) -> None:
    way = dataclasses.replace(access, credentials=cast("Any", hanging))

    def interrupted() -> NoReturn:
        hanging.asked.wait()
        raise KeyboardInterrupt

    with closing(Pool(way, Line(1))) as pool, pytest.raises(KeyboardInterrupt):
        _side_by_side(pool, interrupted, lambda: activation.active(pool, way, "x/"))
    assert not hanging.was_waited_out


def test_an_upload_in_place_that_ends_waits_once_for_a_token_service_that_hangs(
    access: Access, hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def is_done(_: object, seconds: float) -> bool:
        waits.append(seconds)
        return False

    monkeypatch.setattr(Background, "is_done", is_done)
    way = dataclasses.replace(access, credentials=cast("Any", hanging))
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "app.js").touch()

    with pytest.raises(Failure, match="no built Ember app"):
        upload_to(way, EMBER, str(tmp_path / "dist"), PREFIX, IN_PLACE)
    assert waits == [LONGEST_FOR_A_STOP]


def test_a_file_that_changes_after_it_was_judged_is_not_sent(
    access: Access, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = app / "film.bin"
    big.write_bytes(os.urandom(3 << 20))

    def plan_while_the_file_changes(*args: object) -> object:
        big.write_bytes(os.urandom(3 << 20))
        return plan(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("tasks.lib.ember.bringing.plan", plan_while_the_file_changes)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, str(app), PREFIX, IN_PLACE)
    assert caught.value.what == "film.bin changed while it was being uploaded."
    assert "film.bin" not in blobs(access)
    assert "index.html" not in blobs(access)
