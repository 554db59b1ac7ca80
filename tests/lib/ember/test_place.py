"""What a maintainer does with the revisions of one app, against a real storage server."""

import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import example
from tasks.lib.ember import objects, pruning, reading, revision
from tasks.lib.ember.access import Access
from tasks.lib.ember.place import Place
from tasks.lib.ember.remote import remote_of
from tasks.lib.ember.summary import Options
from tasks.lib.ember.upload import upload_to
from tasks.lib.errors import Failure, UsageError
from tests.builders import checked_in_settings

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

EMBER = checked_in_settings().ember
PREFIX = "experiments/0b7e"
WHERE = f"{PREFIX}/"


@pytest.fixture
def place(access: Access) -> Place:
    return Place(access, PREFIX, 8)


def uploaded(access: Access, folder: Path, version: str) -> str:
    return upload_to(access, EMBER, str(example.write(folder / version, version)), PREFIX, Options()).revision


def bucket_of(access: Access) -> "Bucket":
    from google.cloud import storage

    options = {"api_endpoint": access.endpoint}
    client = storage.Client("test", credentials=access.credentials, client_options=options)
    bucket: Bucket = client.bucket(access.bucket)
    return bucket


def page(place: Place) -> str:
    with urllib.request.urlopen(place.url) as answer:
        data: bytes = answer.read()
        return data.decode()


def test_activating_and_rolling_back_change_the_public_page(
    access: Access, place: Place, tmp_path: Path
) -> None:
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    assert f"revisions/{two}/" in page(place)
    assert place.activate(one[:6]) == f"Revision {one} is active. Before: {two}."
    assert f"revisions/{one}/" in page(place)
    assert place.activate(one) == f"Revision {one} is active already."
    assert place.roll_back() == f"Revision {two} is active again. Before: {one}."
    assert f"revisions/{two}/" in page(place)


def test_rolling_back_needs_something_to_go_back_to(access: Access, place: Place, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="There is no revision to go back to"):
        place.roll_back()
    uploaded(access, tmp_path, "1")
    with pytest.raises(Failure, match="There is no revision to go back to"):
        place.roll_back()


def test_pruning_shows_then_removes(access: Access, place: Place, tmp_path: Path) -> None:
    one, two, three = (uploaded(access, tmp_path, version) for version in "123")
    assert list(place.prune(0, 0, dry_run=True)) == [f"{one} would be removed (10 files)."]
    assert list(place.prune(0, 30, dry_run=False)) == ["Nothing to remove."]
    assert list(place.prune(0, 0, dry_run=False)) == [f"{one} removed (11 objects)."]
    assert [r.name for r in place.listed()] == [three, two]


def test_pruning_removes_what_an_ended_upload_left(
    access: Access, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    three = uploaded(access, tmp_path, "3")
    manifest = reading.look_up(place._pool, access, revision.manifest_name(WHERE, one))
    assert manifest
    place._pool.run([objects.removed(access, remote_of(manifest), lambda _name: None)])
    assert list(place.prune(0, 0, dry_run=False)) == ["Nothing to remove."]
    monkeypatch.setattr(pruning, "LEAST_AGE", timedelta(0))
    told = f"{one} would be removed (what an ended upload or pruning left)."
    assert list(place.prune(0, 0, dry_run=True)) == [told]
    assert list(place.prune(0, 0, dry_run=False)) == [f"{one} removed (10 objects)."]
    assert {r.name for r in place.listed()} == {two, three}
    assert list(place.prune(0, 0, dry_run=False)) == ["Nothing to remove."]


def test_pruning_goes_on_where_another_was_broken_off(
    access: Access, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (uploaded(access, tmp_path, version) for version in "123")

    def broken_off(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "_renewed", broken_off)
    with pytest.raises(KeyboardInterrupt):
        list(place.prune(0, 0, dry_run=False))
    monkeypatch.undo()
    told = f"{one} would be removed (what an ended upload or pruning left)."
    assert list(place.prune(9, 30, dry_run=True)) == [told]
    assert list(place.prune(9, 30, dry_run=False)) == [f"{one} removed (11 objects)."]
    assert {r.name for r in place.listed()} == {two, three}
    assert list(place.prune(9, 30, dry_run=False)) == ["Nothing to remove."]


@pytest.mark.parametrize(("keep", "days"), [(-1, 0), (0, -1), (0, 10**9), (0, 10**12)])
def test_pruning_by_numbers_that_make_no_sense_is_bad_usage(place: Place, keep: int, days: int) -> None:
    with pytest.raises(UsageError):
        list(place.prune(keep, days, dry_run=True))


def test_a_sound_revision_verifies(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    assert place.verify("", EMBER.bucket.cors) == f"Revision {name} is whole, and served as it should be."


def test_verifying_where_nothing_is_active_says_so(access: Access, place: Place, app: Path) -> None:
    with pytest.raises(Failure, match=f"No revision is active at {WHERE}"):
        place.verify("", EMBER.bucket.cors)
    upload_to(access, EMBER, str(app), PREFIX, Options(in_place=True))
    with pytest.raises(Failure, match=f"No revision is active at {WHERE}"):
        place.verify("", EMBER.bucket.cors)


def test_verifying_names_everything_that_is_wrong(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    where = revision.folder(WHERE, name)
    bucket = bucket_of(access)
    bucket.blob(f"{where}robots.txt").delete()
    bucket.blob(f"{where}crossdomain.xml").upload_from_string(b"<other/>", content_type="application/xml")
    sound = bucket.get_blob(f"{where}sounds/chime.wav")
    sound.content_type = "text/html"
    sound.patch()
    bucket.blob(f"{where}stray.txt").upload_from_string(b"?")
    with pytest.raises(Failure) as caught:
        place.verify(name, EMBER.bucket.cors)
    faults = caught.value.why.splitlines()
    url = f"{access.endpoint}/{access.bucket}/{where}"
    assert f"- {where}robots.txt: it is missing, or its content differs." in faults
    assert f"- {where}crossdomain.xml: it is missing, or its content differs." in faults
    assert f"- {where}sounds/chime.wav: its headers differ." in faults
    assert f"- {where}stray.txt: no manifest names it." in faults
    assert f"- {url}sounds/chime.wav: Content-Type is 'text/html', but should be 'audio/wav'." in faults
    assert f"- {url}crossdomain.xml: the bytes served are not the ones of the revision." in faults
    assert any(fault.startswith(f"- {url}robots.txt: the public is answered 404") for fault in faults)
    assert caught.value.next_step == (
        "Upload its archive again: what differs is sent and mended. With --delete-extra what no manifest names goes."
    )


@pytest.mark.parametrize("left", [None, b"<p>no head</p>"], ids=["gone", "another one"])
def test_an_active_revision_whose_index_is_lost_is_told_with_all_else(
    access: Access, place: Place, tmp_path: Path, left: bytes | None
) -> None:
    where = revision.folder(WHERE, uploaded(access, tmp_path, "1"))
    bucket = bucket_of(access)
    bucket.blob(f"{where}robots.txt").delete()
    index = bucket.blob(f"{where}index.html")
    index.delete() if left is None else index.upload_from_string(left, content_type="text/html")

    with pytest.raises(Failure, match="is not as it should be") as caught:
        place.verify("", EMBER.bucket.cors)

    faults = caught.value.why.splitlines()
    assert f"- {where}index.html: it is missing, or its content differs." in faults
    assert f"- {where}robots.txt: it is missing, or its content differs." in faults
    assert caught.value.next_step == "Upload its archive again: what differs is sent and mended."


def test_a_page_that_is_another_one_is_mended_by_the_command_that_verifying_names(
    access: Access, place: Place, tmp_path: Path
) -> None:
    """As a copy from another bucket leaves one, with all that was noted of the other app's."""
    name = uploaded(access, tmp_path, "1")
    copied = bucket_of(access).get_blob(f"{WHERE}index.html")
    copied.metadata = dict(copied.metadata)
    copied.upload_from_string(b"<html><head></head></html>", content_type="text/html; charset=utf-8")

    with pytest.raises(Failure, match="is not as it should be") as caught:
        place.verify("", EMBER.bucket.cors)
    assert f"- {place.url}: the bytes served are not the ones of the revision." in caught.value.why
    assert caught.value.next_step == f"`./inv ember.activate {name}` writes the page anew."

    assert place.activate(name) == f"Revision {name} is active; its page was written anew."
    assert place.verify("", EMBER.bucket.cors).endswith("served as it should be.")
    assert place.activate(name) == f"Revision {name} is active already."


@pytest.mark.parametrize("left", [None, b"<p>no head</p>"], ids=["gone", "another one"])
def test_activating_what_is_active_and_not_whole_says_what_is_missing(
    access: Access, place: Place, tmp_path: Path, left: bytes | None
) -> None:
    name = uploaded(access, tmp_path, "1")
    index = f"{revision.folder(WHERE, name)}index.html"
    blob = bucket_of(access).blob(index)
    blob.delete() if left is None else blob.upload_from_string(left, content_type="text/html")

    with pytest.raises(Failure, match="is not whole") as caught:
        place.activate(name)
    assert caught.value.why == f"- {index} is missing or differs."


def test_notes_that_are_no_numbers_count_as_none(access: Access, place: Place, tmp_path: Path) -> None:
    manifest = bucket_of(access).get_blob(revision.manifest_name(WHERE, uploaded(access, tmp_path, "1")))
    manifest.metadata = {**manifest.metadata, "lookit-files": "many", "lookit-size": "-"}
    manifest.patch()

    assert [(one.files, one.size) for one in place.listed()] == [(0, 0)]


def test_uploading_again_mends_what_verifying_found(access: Access, place: Place, tmp_path: Path) -> None:
    name = uploaded(access, tmp_path, "1")
    there = reading.look_up(place._pool, access, f"{revision.folder(WHERE, name)}robots.txt")
    assert there
    place._pool.run([objects.removed(access, remote_of(there), lambda _name: None)])
    assert uploaded(access, tmp_path, "1") == name
    assert place.verify("", EMBER.bucket.cors).endswith("served as it should be.")


@pytest.mark.parametrize("active", [True, False])
def test_what_no_manifest_names_is_removed_by_the_command_that_verifying_names(
    access: Access, place: Place, tmp_path: Path, active: bool
) -> None:
    name = uploaded(access, tmp_path, "1")
    if not active:
        uploaded(access, tmp_path, "2")
    stray = f"{revision.folder(WHERE, name)}stray.txt"
    bucket_of(access).blob(stray).upload_from_string(b"?")
    with pytest.raises(Failure, match="is not as it should be") as caught:
        place.verify(name, EMBER.bucket.cors)
    assert caught.value.why == f"- {stray}: no manifest names it."
    assert (
        caught.value.next_step
        == "Upload its archive again with --delete-extra: it removes what no manifest names."
    )

    kept = upload_to(access, EMBER, str(tmp_path / "1"), PREFIX, Options(activate=False))
    assert (kept.to_remove, kept.removed) == ([stray], 0)
    preview = Options(activate=False, delete_extra=True, dry_run=True)
    assert upload_to(access, EMBER, str(tmp_path / "1"), PREFIX, preview).to_remove == [stray]
    assert bucket_of(access).blob(stray).exists()
    gone = upload_to(access, EMBER, str(tmp_path / "1"), PREFIX, Options(activate=False, delete_extra=True))
    assert (gone.sent, gone.removed) == (0, 1)
    assert place.verify(name, EMBER.bucket.cors).endswith("served as it should be.")


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[]", b"{}", b'{"files": {"a": 1}}', b'{"files": []}'])
def test_a_damaged_manifest_is_named_and_mended_by_uploading_again(
    access: Access, place: Place, tmp_path: Path, data: bytes
) -> None:
    manifest = revision.manifest_name(WHERE, uploaded(access, tmp_path, "1"))
    bucket_of(access).blob(manifest).upload_from_string(data, content_type="application/json")
    with pytest.raises(Failure, match=f"{manifest} is no manifest"):
        place.verify("", EMBER.bucket.cors)
    uploaded(access, tmp_path, "1")
    assert place.verify("", EMBER.bucket.cors).endswith("served as it should be.")


def test_an_active_revision_without_its_manifest_has_failed_and_is_mended_by_uploading_again(
    access: Access, place: Place, tmp_path: Path
) -> None:
    manifest = revision.manifest_name(WHERE, uploaded(access, tmp_path, "1"))
    bucket_of(access).blob(manifest).delete()
    with pytest.raises(Failure, match="is active and not whole") as caught:
        place.verify("", EMBER.bucket.cors)
    assert (caught.value.exit_code, caught.value.why) == (1, f"- {manifest} is missing.")
    uploaded(access, tmp_path, "1")
    assert place.verify("", EMBER.bucket.cors).endswith("served as it should be.")


@pytest.mark.parametrize("again", ["uploaded", "activated"])
def test_other_headers_of_the_page_are_mended(
    access: Access, place: Place, tmp_path: Path, again: str
) -> None:
    name = uploaded(access, tmp_path, "1")
    changed = bucket_of(access).get_blob(f"{WHERE}index.html")
    changed.cache_control = "public, max-age=3600"
    changed.patch()
    with pytest.raises(Failure, match="Cache-Control is 'public, max-age=3600', but should be 'no-cache'"):
        place.verify("", EMBER.bucket.cors)
    if again == "uploaded":
        assert uploaded(access, tmp_path, "1") == name
    else:
        place.activate(name)
    assert place.verify("", EMBER.bucket.cors).endswith("served as it should be.")
    assert place.active().history == (name,)


def test_what_is_no_revision_is_neither_listed_nor_pruned(
    access: Access, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "LEAST_AGE", timedelta(0))
    one, two = uploaded(access, tmp_path, "1"), uploaded(access, tmp_path, "2")
    others = [f"{WHERE}revisions/{name}" for name in ("readme.txt", "notes.json", "c0ffee0c0ffe", "p/a.png")]
    for name in others:
        bucket_of(access).blob(name).upload_from_string(b"x")
    assert {found.name for found in place.listed()} == {one, two}
    assert list(place.prune(0, 0, dry_run=False)) == ["Nothing to remove."]
    assert all(bucket_of(access).blob(name).exists() for name in others)
