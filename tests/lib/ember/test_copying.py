"""What an earlier revision has already is copied within a real storage server, and nothing wrong comes of it."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from tasks.lib.ember import activation, copying, objects, reading, revision, revisions
from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Line
from tasks.lib.ember.place import Place
from tasks.lib.ember.plan import Copy, Relabel, Send
from tasks.lib.ember.remote import ABSENT, remote_of
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.wire import Pool, Response
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.ember import archives

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
WHERE = f"{PREFIX}/"
PAGE = b"<html><head></head>%d"
FILES = {
    "index.html": PAGE % 1, "film.bin": os.urandom(3 << 20), "app.js": b"let a = 1;" * 500, "old.txt": b"old",
}  # fmt: skip


@pytest.fixture
def pool(access: Access) -> Iterator[Pool]:
    with closing(Pool(access, Line(8))) as made:
        yield made


def uploaded(access: Access, folder: Path, files: dict[str, bytes], **options: bool) -> UploadSummary:
    source = archives.saved(folder, archives.tar_gz(files))
    return upload_to(access, EMBER, source, PREFIX, Options(**options))


def verified(access: Access, name: str) -> str:
    with Place(access, PREFIX, 8) as place:
        return place.verify(name, EMBER.bucket.cors)


def test_only_what_changed_is_sent_to_a_new_revision(access: Access, pool: Pool, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    changed = {**FILES, "index.html": PAGE % 2, "new.txt": b"new"}
    summary = uploaded(access, tmp_path, changed)
    assert (summary.sent, summary.copied, summary.unchanged) == (2, 3, 0)
    assert summary.stored < 200
    assert verified(access, summary.revision).endswith("served as it should be.")
    film = reading.fetched(pool, access, f"{revision.folder(WHERE, summary.revision)}film.bin")
    assert film == FILES["film.bin"]


def test_a_file_under_another_name_is_copied_too(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    renamed = {("movie.bin" if path == "film.bin" else path): data for path, data in FILES.items()}
    summary = uploaded(access, tmp_path, renamed)
    assert (summary.sent, summary.copied) == (1, 3)
    assert verified(access, summary.revision).endswith("served as it should be.")


def test_a_preview_tells_copies_from_what_is_sent(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    summary = uploaded(access, tmp_path, {**FILES, "index.html": PAGE % 2}, dry_run=True)
    assert [name.rsplit("/", 1)[1] for name in summary.to_copy] == ["film.bin", "app.js", "old.txt"]
    assert [name.rsplit("/", 1)[1] for name in summary.to_send] == ["index.html"]


def removed(pool: Pool, access: Access, name: str) -> None:
    there = reading.look_up(pool, access, name)
    assert there
    pool.run([objects.removed(access, remote_of(there), lambda _name: None)])


def test_a_source_that_is_gone_is_sent_instead(access: Access, pool: Pool, tmp_path: Path) -> None:
    first = uploaded(access, tmp_path, FILES).revision
    removed(pool, access, f"{revision.folder(WHERE, first)}film.bin")
    summary = uploaded(access, tmp_path, {**FILES, "index.html": PAGE % 2})
    assert (summary.sent, summary.copied) == (2, 2)
    assert verified(access, summary.revision).endswith("served as it should be.")


def test_a_source_that_is_not_what_its_manifest_says_is_sent_instead(access: Access, tmp_path: Path) -> None:
    from google.cloud import storage

    first = uploaded(access, tmp_path, FILES).revision
    options = {"api_endpoint": access.endpoint}
    client = storage.Client("test", credentials=access.credentials, client_options=options)
    blob = client.bucket(access.bucket).blob(f"{revision.folder(WHERE, first)}film.bin")
    blob.upload_from_string(b"another film")
    summary = uploaded(access, tmp_path, {**FILES, "index.html": PAGE % 2})
    assert (summary.sent, summary.copied) == (2, 2)
    assert verified(access, summary.revision).endswith("served as it should be.")


def test_other_header_rules_are_not_copied_over(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    rules = [structs.replace(rule, cache_control="no-store") for rule in EMBER.headers]
    other = structs.replace(EMBER, headers=rules)
    source = archives.saved(tmp_path, archives.tar_gz({**FILES, "index.html": PAGE % 2}))
    summary = upload_to(access, other, source, PREFIX)
    assert (summary.sent, summary.copied) == (4, 0)


def test_manifests_without_digests_are_understood(access: Access, pool: Pool) -> None:
    noted = b'{"revision":"1f","files":{"a.js":[3,"00ff",  "text/javascript","no-cache",true]}}'
    (entry,) = revision.entries_of(noted)
    assert (entry.path, entry.size, entry.digest) == ("a.js", 3, b"")
    assert activation.served(pool, access, WHERE)[1] == []


@pytest.mark.parametrize(
    "answers", [[404], [412, 404]], ids=["the source is gone", "the target is not the same"]
)
def test_what_cannot_be_copied_onto_itself_is_sent_where_nothing_is(
    access: Access, answers: list[int]
) -> None:
    send = Send(revisions.made("a.js", b"1", activation.PAGE_HEADERS), "p/a.js", 7)
    instead: list[Send] = []
    steps = copying.copied(access, Copy(send, "p/a.js"), lambda *_: None, instead.append).steps
    next(steps)
    for status in answers[:-1]:
        steps.send(Response(status, b""))
    with pytest.raises(StopIteration):
        steps.send(Response(answers[-1], b""))
    assert [(one.name, one.generation) for one in instead] == [("p/a.js", ABSENT)]


def test_an_object_that_was_removed_before_its_headers_were_changed_is_no_missing_bucket(
    access: Access,
) -> None:
    change = Relabel(revisions.made("a.js", b"1", activation.PAGE_HEADERS), "p/a.js", 7)
    steps = objects.relabelled(access, change, lambda _change: None).steps
    next(steps)
    with pytest.raises(objects.Changed, match=r"p/a\.js was changed by somebody else"):
        steps.send(Response(404, b""))


@pytest.mark.parametrize("body", [b"{}", b'{"status": "ok"}', b"<html>"])
def test_a_copy_that_something_else_answers_is_not_asked_for_for_ever(access: Access, body: bytes) -> None:
    send = Send(revisions.made("a.js", b"1", activation.PAGE_HEADERS), "p/a.js", 7)
    steps = copying.copied(access, Copy(send, "q/a.js"), lambda *_: None, lambda _: None).steps
    next(steps)
    with pytest.raises(Failure, match="something in its place"):
        steps.send(Response(200, body))
