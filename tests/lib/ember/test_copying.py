"""What the bucket has already is copied within a real storage server, and nothing wrong comes of it."""

import os
from pathlib import Path

import pytest
from msgspec import structs

from tasks.lib.ember import objects, revisions, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.http import Response
from tasks.lib.ember.objects import ABSENT
from tasks.lib.ember.place import opened
from tasks.lib.ember.plan import Copy, Send
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.upload import upload_to
from tasks.lib.ember.verification import verify
from tasks.lib.errors import Failure
from tests.builders import checked_in_settings
from tests.lib.ember import archives, stored

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
PAGE = b"<html><head></head>%d"
FILES = {
    "index.html": PAGE % 1, "film.bin": os.urandom(3 << 20), "app.js": b"let a = 1;" * 500, "old.txt": b"old",
}  # fmt: skip
SEND = Send(revisions.made("a.js", b"1", revisions.MANIFEST_HEADERS), "p/a.js", 7)


def uploaded(access: Access, folder: Path, files: dict[str, bytes], **options: bool) -> UploadSummary:
    source = archives.saved(folder, archives.tar_gz(files))
    return upload_to(access, EMBER, source, PREFIX, Options(**options))


def verified(access: Access, name: str) -> str:
    with opened(access, EMBER, PREFIX) as place:
        return verify(place, name, EMBER.bucket.cors)


def test_only_what_changed_is_sent_to_a_new_revision(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    summary = uploaded(access, tmp_path, {**FILES, "index.html": PAGE % 2, "new.txt": b"new"})
    assert (summary.sent, summary.copied, summary.unchanged) == (2, 3, 0)
    assert summary.stored < 200
    assert verified(access, summary.revision).endswith("served as it should be.")


def test_a_file_under_another_name_is_copied_too(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    renamed = {("movie.bin" if path == "film.bin" else path): data for path, data in FILES.items()}
    summary = uploaded(access, tmp_path, renamed)
    assert (summary.sent, summary.copied) == (0, 4)
    assert verified(access, summary.revision).endswith("served as it should be.")


def test_a_preview_tells_copies_from_what_is_sent(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    summary = uploaded(access, tmp_path, {**FILES, "index.html": PAGE % 2}, dry_run=True)
    assert [name.rsplit("/", 1)[1] for name in summary.to_copy] == ["film.bin", "app.js", "old.txt"]
    assert [name.rsplit("/", 1)[1] for name in summary.to_send] == ["index.html"]


@pytest.mark.parametrize("left", [None, b"another film"], ids=["gone", "not what its manifest says"])
def test_a_source_that_cannot_be_used_is_sent_instead(
    access: Access, tmp_path: Path, left: bytes | None
) -> None:
    first = uploaded(access, tmp_path, FILES).revision
    film = f"{PREFIX}/revisions/{first}/film.bin"
    stored.remove(access, film) if left is None else stored.put(access, film, left)
    summary = uploaded(access, tmp_path, {**FILES, "index.html": PAGE % 2})
    assert (summary.sent, summary.copied) == (2, 2)
    assert verified(access, summary.revision).endswith("served as it should be.")


def test_other_header_rules_are_not_copied_over(access: Access, tmp_path: Path) -> None:
    uploaded(access, tmp_path, FILES)
    rules = [structs.replace(rule, cache_control="no-store") for rule in EMBER.headers]
    source = archives.saved(tmp_path, archives.tar_gz({**FILES, "index.html": PAGE % 2}))
    summary = upload_to(access, structs.replace(EMBER, headers=rules), source, PREFIX)
    assert (summary.sent, summary.copied) == (4, 0)


def test_file_whose_renewal_fails_is_sent(access: Access) -> None:
    for answer in (404, 412):
        steps = sending.copied(access, Copy(SEND, "p/a.js"))
        next(steps)
        steps.send(Response(answer, b""))
        with pytest.raises(StopIteration) as end:
            steps.send(Response(404, b""))
        assert end.value.value == structs.replace(SEND, generation=ABSENT)


def test_a_target_that_somebody_else_wrote_is_left_alone(access: Access) -> None:
    steps = sending.copied(access, Copy(SEND, "q/a.js"))
    next(steps)
    steps.send(Response(412, b""))
    with pytest.raises(objects.Changed, match=r"p/a\.js was changed by somebody else"):
        steps.send(Response(200, b'{"name": "p/a.js", "generation": "8"}'))


def test_relabelling_a_removed_object_says_it_was_changed(
    access: Access,
) -> None:
    steps = objects.relabel(access, "p/a.js", 7, revisions.MANIFEST_HEADERS)
    next(steps)
    with pytest.raises(objects.Changed, match=r"p/a\.js was changed by somebody else"):
        steps.send(Response(404, b""))


@pytest.mark.parametrize("body", [b"{}", b'{"status": "ok"}', b"<html>"])
def test_foreign_answer_to_a_copy_fails_at_once(access: Access, body: bytes) -> None:
    steps = sending.copied(access, Copy(SEND, "q/a.js"))
    next(steps)
    with pytest.raises(Failure, match="something else did"):
        steps.send(Response(200, body))
