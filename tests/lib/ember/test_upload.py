"""Uploads to a real storage server, read back with Google's own client."""

import dataclasses
import gzip
import os
import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from sandbox import example
from tasks.lib.ember import upload
from tasks.lib.ember.access import Access
from tasks.lib.ember.archive import inventory
from tasks.lib.ember.http import Job, Pool, Request, Stream
from tasks.lib.ember.names import checked_prefix
from tasks.lib.ember.plan import plan
from tasks.lib.ember.resumable import STREAMS
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.errors import Failure, UsageError
from tests.builders import checked_in_settings
from tests.lib.ember import archives, stored

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
FINGERPRINT = re.compile(r"-[0-9a-f]{32}\.")
# Files of the example without a fingerprint.
OWN = 4


def contents(access: Access) -> dict[str, bytes]:
    """What visitors find, by path."""
    found = stored.contents(access, f"{PREFIX}/")
    return {path: data for path, data in found.items() if not path.startswith("revisions/")}


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_visitors_find_the_app_as_it_is(access: Access, app: Path) -> None:
    summary = upload_to(access, EMBER, str(app), PREFIX)
    assert contents(access) == on_disk(app)
    assert (summary.sent, summary.unchanged, summary.files) == (10, 0, 10)
    assert summary.active == summary.revision


def test_a_revision_keeps_copies_of_what_has_no_fingerprint(access: Access, app: Path) -> None:
    name = upload_to(access, EMBER, str(app), PREFIX).revision
    kept = stored.contents(access, f"{PREFIX}/revisions/{name}/")
    assert kept == {path: data for path, data in on_disk(app).items() if not FINGERPRINT.search(path)}
    assert 0 < len(kept) < len(on_disk(app))


def test_the_url_serves_the_page(access: Access, app: Path) -> None:
    summary = upload_to(access, EMBER, str(app), PREFIX)
    assert summary.url == f"{access.endpoint}/{access.bucket}/{PREFIX}/index.html"
    with urllib.request.urlopen(summary.url) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.read() == (app / "index.html").read_bytes()


def test_objects_carry_their_headers(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX)
    found = stored.blobs(access, f"{PREFIX}/")
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


def test_an_unchanged_app_costs_three_requests(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX)
    again = upload_to(access, EMBER, str(app), PREFIX)
    # The page and the revisions; the objects.
    assert (again.sent, again.copied, again.unchanged, again.requests) == (0, 0, 10, 3)


def test_a_first_upload_waits_seven_times(access: Access, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, waits = Pool.run, []

    def counted(self: Pool, jobs: Iterable[Job]) -> list[Any]:
        asked = list(jobs)
        waits.append(len(asked))
        return run(self, asked)

    monkeypatch.setattr(Pool, "run", counted)
    upload_to(access, EMBER, str(app), PREFIX)

    # The page and the revisions; the manifest; the revisions, and whether anything else is there; the files;
    # the manifest; the revision's own files in their places; the page.
    assert [count for count in waits if count] == [2, 1, 2, 10, 1, OWN - 1, 1]


def test_changed_unfingerprinted_file_costs_only_its_own_requests(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX)
    (app / "robots.txt").write_text("changed")
    again = upload_to(access, EMBER, str(app), PREFIX)
    assert (again.sent, again.copied) == (1, OWN - 1)
    # As above, the manifest and the revisions once more, the earlier manifest, the revision's own files,
    # robots.txt in its place, the page.
    assert again.requests == 3 + 2 + 1 + OWN + 1 + 1
    assert contents(access) == on_disk(app)


def test_a_fingerprinted_file_is_written_once(access: Access, app: Path) -> None:
    upload_to(access, EMBER, str(app), PREFIX)
    shared = {
        path: blob.generation
        for path, blob in stored.blobs(access, f"{PREFIX}/").items()
        if FINGERPRINT.search(path)
    }
    (app / "robots.txt").write_text("changed")
    upload_to(access, EMBER, str(app), PREFIX)
    assert (
        shared.items()
        <= {path: blob.generation for path, blob in stored.blobs(access, f"{PREFIX}/").items()}.items()
    )


def test_a_fingerprinted_file_with_other_content_is_refused_by_name(access: Access, app: Path) -> None:
    first = upload_to(access, EMBER, str(app), PREFIX).revision
    name = next(path for path in on_disk(app) if "vendor-" in path)
    (app / name).write_text("changed")
    with pytest.raises(Failure, match="Fingerprinted files are in the bucket with other content") as caught:
        upload_to(access, EMBER, str(app), PREFIX)
    assert caught.value.why == f"- {PREFIX}/{name}"
    assert stored.contents(access, f"{PREFIX}/")[name] != b"changed"
    assert upload_to(access, EMBER, str(example.write(app.parent / "again")), PREFIX).active == first


def test_few_large_files_are_sent_at_once_and_last(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More at once share the same line, and hold up small files, which wait for answers rather than for the line."""
    ember = structs.replace(EMBER, resumable_above=64 << 10, resumable_part=256 << 10)
    monkeypatch.setattr(
        inventory, "MOST_KEPT", 0
    )  # nothing is sent from memory, before all that is read again
    for name, size in [*((f"film-{n}.mp4", 300 << 10) for n in range(12)), ("z.js", 9), ("index.html", 9)]:
        (tmp_path / name).write_bytes(os.urandom(size))
    asked: list[str] = []
    at_once: list[int] = []
    send = Pool._send

    def noted(pool: Pool, running: Any, request: Request) -> None:
        send(pool, running, request)
        asked.append(request.url)
        at_once.append(sum(isinstance(one._request.body, Stream) for one in pool._running.values()))

    monkeypatch.setattr(Pool, "_send", noted)

    upload_to(access, ember, str(tmp_path), PREFIX)

    assert contents(access) == on_disk(tmp_path)
    assert 1 < max(at_once) <= STREAMS < 12
    kinds = [url.partition("uploadType=")[2].partition("&")[0] for url in asked if "uploadType" in url]
    assert kinds[:2] == ["multipart", "multipart"], "the manifest, then z.js and index.html before the films"


def test_headers_that_drifted_are_corrected_without_sending(access: Access, app: Path) -> None:
    name = upload_to(access, EMBER, str(app), PREFIX).revision
    for path in (f"revisions/{name}/robots.txt", "robots.txt"):
        blob = stored.blobs(access, f"{PREFIX}/")[path]
        blob.cache_control = "public, max-age=3600"
        blob.patch()
    again = upload_to(access, EMBER, str(app), PREFIX)
    assert (again.sent, again.copied, again.relabelled) == (0, 0, 1)
    found = stored.blobs(access, f"{PREFIX}/")
    assert {found[path].cache_control for path in ("robots.txt", f"revisions/{name}/robots.txt")} == {
        "no-cache"
    }


@pytest.mark.parametrize("kind", archives.KINDS)
def test_every_kind_of_archive_arrives(access: Access, tmp_path: Path, kind: str) -> None:
    files = {
        "index.html": b"<html>", "big.bin": os.urandom(9 << 20), "text.js": b"let a = 1;" * 300_000,
        "small.bin": os.urandom(3 << 20), "bigger.bin": os.urandom(10 << 20), "zlast.txt": b"z",
    }  # fmt: skip
    source = archives.saved(tmp_path, archives.KINDS[kind](files))
    upload_to(access, EMBER, source, PREFIX)
    assert contents(access) == files
    assert upload_to(access, EMBER, source, PREFIX).sent == 0


def test_a_refused_archive_leaves_the_bucket_empty(access: Access, tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({"index.html": b"<html>", "../x": b""}))
    with pytest.raises(Failure, match="The archive is refused; nothing was uploaded"):
        upload_to(access, EMBER, source, PREFIX)
    assert stored.contents(access, "") == {}


def test_a_missing_bucket_is_named(access: Access, app: Path) -> None:
    with pytest.raises(Failure) as caught:
        upload_to(dataclasses.replace(access, bucket="nowhere"), EMBER, str(app), PREFIX)
    assert caught.value.what == "The bucket nowhere could not be listed."
    assert "There is no bucket nowhere" in caught.value.why


def test_an_unreachable_endpoint_times_out(access: Access, app: Path) -> None:
    nowhere = dataclasses.replace(access, endpoint="http://127.0.0.1:9", limit=1.0)
    with pytest.raises(Failure) as caught:
        upload_to(nowhere, EMBER, str(app), PREFIX)
    assert "Could not connect" in caught.value.why
    assert caught.value.exit_code == 70


def test_somebody_elses_write_is_not_overwritten(
    access: Access, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def plan_while_another_writes(entries: Any, named: Any, *rest: Any) -> object:
        decided = plan(entries, named, *rest)
        written.extend(named(entry) for entry in entries if entry.path == "robots.txt")
        stored.put(access, written[0], b"theirs")
        return decided

    monkeypatch.setattr(upload, "plan", plan_while_another_writes)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, str(app), PREFIX)
    assert caught.value.what == f"{written[0]} was changed by somebody else meanwhile."
    assert "Visitors are served what they were before." in caught.value.why
    assert "index.html" not in contents(access)


@pytest.mark.parametrize("prefix", ["", "/", "/abs", "a/../b", "a//b"])
def test_a_prefix_that_is_no_clean_path_is_bad_usage(prefix: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        checked_prefix(prefix)


@pytest.mark.parametrize("prefix", ["experiments", "experiments/"])
def test_a_prefix_that_holds_apps_is_bad_usage(access: Access, app: Path, prefix: str) -> None:
    with pytest.raises(UsageError, match="The prefix experiments/ cannot be used"):
        upload_to(access, EMBER, str(app), prefix)


def test_app_may_have_a_revisions_folder_but_no_revision_names(access: Access, app: Path) -> None:
    folder = app / "revisions"
    folder.mkdir()
    (folder / "list.json").write_text("[]")
    upload_to(access, EMBER, str(app), PREFIX)
    assert stored.contents(access, f"{PREFIX}/")["revisions/list.json"] == b"[]"
    (folder / "0123456789ab.json").write_text("{}")
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, str(app), PREFIX)
    assert caught.value.why == "- revisions/0123456789ab.json: its name is kept for revisions"


def test_a_dry_run_changes_nothing(access: Access, app: Path) -> None:
    summary = upload_to(access, EMBER, str(app), PREFIX, Options(dry_run=True))
    assert len(summary.to_send) == summary.files == 10
    assert stored.contents(access, "") == {}


def test_upload_without_activation_changes_nothing_for_visitors(access: Access, app: Path) -> None:
    before = on_disk(app)
    first = upload_to(access, EMBER, str(app), PREFIX).revision
    (app / "robots.txt").write_text("changed")
    summary = upload_to(access, EMBER, str(app), PREFIX, Options(activate=False))
    assert (summary.active, summary.revision == first) == (first, False)
    assert contents(access) == before


@pytest.mark.parametrize(
    "page", [b'<script src="/assets/gone.js"></script>', b'<script src="gone.js"></script>']
)
def test_page_loading_missing_files_is_refused_unless_allowed(access: Access, app: Path, page: bytes) -> None:
    (app / "index.html").write_bytes(page)
    with pytest.raises(Failure, match="No browser could run this app"):
        upload_to(access, EMBER, str(app), PREFIX)
    assert stored.contents(access, "") == {}
    assert len(upload_to(access, EMBER, str(app), PREFIX, Options(allow_broken=True)).broken) == 1


def test_file_changed_after_inspection_is_not_sent(
    access: Access, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = app / "film.bin"
    big.write_bytes(os.urandom(3 << 20))

    def plan_while_the_file_changes(*args: Any) -> object:
        big.write_bytes(os.urandom(3 << 20))
        return plan(*args)

    monkeypatch.setattr(upload, "plan", plan_while_the_file_changes)
    with pytest.raises(Failure) as caught:
        upload_to(access, EMBER, str(app), PREFIX)
    assert caught.value.what == "film.bin changed while it was being uploaded."
    assert "index.html" not in contents(access)
    assert not any(path.endswith("film.bin") for path in stored.contents(access, ""))
