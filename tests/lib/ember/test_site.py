"""Many archives at once, against a real storage server."""

import json
import os
import signal
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from sandbox import example
from tasks.lib import signals
from tasks.lib.ember import site
from tasks.lib.ember import upload as uploading
from tasks.lib.ember.access import Access
from tasks.lib.ember.overview import overview
from tasks.lib.ember.place import Place, opened
from tasks.lib.ember.report import site as report
from tasks.lib.ember.summary import Options, UploadSummary, check_alone
from tasks.lib.ember.verification import verify
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.ember import Ember
from tasks.lib.signals import Terminated, unwinding
from tests.builders import checked_in_settings
from tests.lib.ember import archives, fault_proxy

EMBER = checked_in_settings().ember
AS_A_REVISION = Options()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five sound archives and a bad one."""
    lines = []
    for number in range(5):
        archives.saved(tmp_path, archives.zipped(example.files(str(number))), f"{number}.zip")
        lines.append(f"uuid-{number}: {number}.zip")
    archives.saved(tmp_path, archives.zipped({"../x": b""}), "bad.zip")
    path = tmp_path / "site.yaml"
    path.write_text("\n".join([*lines, "uuid-bad: bad.zip"]))
    return path


def uploaded(
    access: Access, wanted: Mapping[str, str], options: Options = AS_A_REVISION, ember: Ember = EMBER
) -> site.SiteSummary:
    summary = site.SiteSummary()
    site.upload_all(access, ember, wanted, options, summary)
    return summary


def test_failed_apps_are_listed_for_the_next_run(
    access: Access, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = site.read_manifest(manifest)
    done = uploaded(access, wanted)
    assert set(done.done) == {f"uuid-{number}" for number in range(5)}
    rest = site.note_rest(manifest, wanted, done)
    assert rest == manifest.parent / "site.rest.yaml"
    with pytest.raises(Failure) as caught:
        report(done, rest, False, Options())
    assert caught.value.what == "1 of 6 archives could not be uploaded."
    assert "uuid-bad: The archive is refused" in caught.value.why
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert site.read_manifest(rest) == {"uuid-bad": str(manifest.parent / "bad.zip")}

    archives.saved(manifest.parent, archives.zipped(example.files("corrected")), "bad.zip")
    again = uploaded(access, site.read_manifest(rest))
    assert (set(again.done), again.failed) == ({"uuid-bad"}, {})
    assert site.note_rest(rest, site.read_manifest(rest), again) is None
    assert not rest.exists()


def test_the_rest_names_archives_as_the_manifest_does(tmp_path: Path) -> None:
    """What a link leads to may be another build by then."""
    (tmp_path / "built").mkdir()
    (tmp_path / "latest").symlink_to("built")
    (tmp_path / "circle").symlink_to("circle")
    manifest = tmp_path / "site.yaml"
    manifest.write_text("uuid-1: latest\nuuid-2: circle\n")

    rest = site.note_rest(manifest, site.read_manifest(manifest), site.SiteSummary())

    assert rest
    assert site.read_manifest(rest) == {
        "uuid-1": str(tmp_path / "latest"),
        "uuid-2": str(tmp_path / "circle"),
    }


def test_site_upload_on_a_full_disk_lists_the_rest(
    access: Access, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(place: Place, *rest: Any) -> UploadSummary:
        if place.prefix.endswith("uuid-3/"):
            raise OSError(ENOSPC, "No space left on device", "/tmp/spool")
        return uploading.bring(place, *rest)

    monkeypatch.setattr(site, "bring", full)
    with pytest.raises(OSError, match="No space left"):
        site.upload_manifest(access, EMBER, manifest, site.read_manifest(manifest), AS_A_REVISION)

    rest = manifest.with_name("site.rest.yaml")
    assert set(site.read_manifest(rest)) == {"uuid-3", "uuid-4", "uuid-bad"}


@pytest.mark.parametrize("uuid", [".", ".."])
def test_a_uuid_that_leads_elsewhere_is_refused(access: Access, manifest: Path, uuid: str) -> None:
    done = uploaded(access, {uuid: site.read_manifest(manifest)["uuid-0"]})

    assert done.failed[uuid].startswith(f"The prefix 'experiments/{uuid}' cannot be used.")


@pytest.mark.parametrize(
    ("prefix", "lies_in"), [("experiments/", "experiments/"), ("a/b/", "a/b/"), ("", "")]
)
def test_configured_prefix_may_end_in_a_slash_or_be_empty(
    access: Access, manifest: Path, prefix: str, lies_in: str
) -> None:
    """As --prefix may end in one."""
    one = {"uuid-0": site.read_manifest(manifest)["uuid-0"]}

    done = uploaded(access, one, ember=structs.replace(EMBER, prefix=prefix))

    assert done.done["uuid-0"].url == f"{access.endpoint}/{access.bucket}/{lies_in}uuid-0/index.html"


def test_an_app_that_fails_late_does_not_stop_the_others(access: Access, manifest: Path) -> None:
    absolute = dict(example.files("absolute"))
    absolute["index.html"] = b'<html><head><script src="/app.js"></script></head></html>'
    archives.saved(manifest.parent, archives.zipped(absolute), "2.zip")
    done = uploaded(access, site.read_manifest(manifest))
    assert set(done.done) == {f"uuid-{number}" for number in (0, 1, 3, 4)}
    assert done.failed["uuid-2"].startswith("No browser could run this app")


@pytest.mark.parametrize("connections", [1, 3, 64])
def test_all_archives_together_make_no_more_connections_than_are_allowed(
    access: Access, manifest: Path, connections: int
) -> None:
    sound = site.read_manifest(manifest)
    # What was asked for a refused archive is broken off, and its connection closed: another takes its place.
    del sound["uuid-bad"]
    done = uploaded(access, sound, ember=structs.replace(EMBER, connections=connections))
    assert len(done.done) == 5
    assert 0 < sum(one.connections for one in done.done.values()) <= connections


def test_site_upload_survives_faults_and_writes_pages_last(access: Access, manifest: Path) -> None:
    ember = structs.replace(EMBER, connections=6, resumable_above=1 << 10, resumable_part=256 << 10)
    with fault_proxy.running(access.endpoint) as proxy:
        proxy.plan(7, fault_proxy.PASSING, 0.1)
        way = replace(access, endpoint=proxy.url, first_pause=0.002)
        done = uploaded(way, site.read_manifest(manifest), ember=ember)
    assert (set(done.failed), len(done.done)) == ({"uuid-bad"}, 5)
    for number in range(5):
        there = listed(access, f"experiments/uuid-{number}/")
        assert set(example.files(str(number))) <= set(there)
        assert there["index.html"] == max(there.values())


def listed(access: Access, prefix: str) -> dict[str, datetime]:
    """When each object was written, by its path."""
    with urllib.request.urlopen(f"{access.objects_url()}?prefix={prefix}") as answer:
        items = json.load(answer)["items"]
    # As texts they do not sort: the server leaves zeros at the end of a second's fraction out.
    return {item["name"].removeprefix(prefix): datetime.fromisoformat(item["timeCreated"]) for item in items}


def test_terminated_site_upload_lists_what_is_left(
    access: Access, manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ending(place: Place, *rest: Any) -> UploadSummary:
        if place.prefix.endswith("uuid-3/"):
            os.kill(os.getpid(), signal.SIGTERM)
            signals.check()
        return uploading.bring(place, *rest)

    monkeypatch.setattr(site, "bring", ending)
    wanted = site.read_manifest(manifest)
    with unwinding(), pytest.raises(Terminated):
        site.upload_manifest(access, EMBER, manifest, wanted, AS_A_REVISION)
    rest = manifest.with_name("site.rest.yaml")
    assert set(site.read_manifest(rest)) == {"uuid-3", "uuid-4", "uuid-bad"}
    assert f"3 of 6 archives were done. {rest} lists the others." in capsys.readouterr().err
    assert listed(access, "experiments/uuid-2/")
    with opened(access, EMBER, "experiments/uuid-3") as place:
        assert overview(place).listed.revisions == {}


def test_unreadable_archive_path_does_not_stop_other_apps(access: Access, manifest: Path) -> None:
    wanted = {"long": "x" * 300, "zero": "a\0b", "sound": str(manifest.parent / "1.zip")}
    done = uploaded(access, wanted)
    assert set(done.done) == {"sound"}
    assert "File name too long" in done.failed["long"]
    assert "null byte" in done.failed["zero"]


def test_next_run_shortens_the_list_of_the_rest(tmp_path: Path) -> None:
    rest = tmp_path / "site.rest.yaml"
    rest.write_text("a: a.zip\nb: b.zip\n")
    done = site.SiteSummary({"a": UploadSummary("")}, {"b": "It is refused."})

    assert site.note_rest(rest, site.read_manifest(rest), done) == rest
    assert site.read_manifest(rest) == {"b": str(tmp_path / "b.zip")}


@pytest.mark.parametrize("failed", [{"u": "why"}, {}])
def test_unwritable_list_of_the_rest_does_not_hide_the_summary(
    tmp_path: Path, failed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.rest.yaml").mkdir()
    done = site.SiteSummary({}, failed)
    assert site.note_rest(tmp_path / "site.yaml", {"u": "a.zip"}, done) is None
    assert "could not be written: [Errno" in capsys.readouterr().err


def test_every_app_of_the_site_is_served(access: Access, manifest: Path) -> None:
    uploaded(access, site.read_manifest(manifest))
    for number in range(5):
        with opened(access, EMBER, f"experiments/uuid-{number}") as place:
            assert verify(place, "", EMBER.bucket.cors).endswith("served as it should be.")


def test_dry_run_of_a_site_writes_no_list(
    access: Access, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(dry_run=True)
    done = uploaded(access, site.read_manifest(manifest), options)
    with pytest.raises(Failure) as caught:
        report(done, None, False, options)
    assert caught.value.next_step == "Fix these, then run again."
    told = capsys.readouterr().err
    assert "uuid-3: send     experiments/uuid-3/assets/" in told
    assert "uuid-3: 0 of 10 files are there already." in told
    with opened(access, EMBER, "experiments/uuid-3") as place:
        assert overview(place).listed.revisions == {}


def test_one_line_adds_all_apps_up(
    access: Access, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifest.parent / "bad.zip").unlink()
    archives.saved(manifest.parent, archives.zipped(example.files("0")), "bad.zip")
    done = uploaded(access, site.read_manifest(manifest))
    report(done, None, False, Options())
    assert "6 of 6 archives: 60 files: 60 sent (" in capsys.readouterr().err


def test_a_uuid_is_taken_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("0123: a.zip\n12e3: b.zip\n2026-01-02: c.zip\n")
    assert list(site.read_manifest(path)) == ["0123", "12e3", "2026-01-02"]


def test_a_uuid_that_is_named_twice_is_bad_usage(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("a: 1.zip\nb: 2.zip\na: 3.zip\n")
    with pytest.raises(UsageError) as caught:
        site.read_manifest(path)
    assert caught.value.why == "More than once: a."


def test_a_manifest_and_an_archive_do_not_go_together() -> None:
    check_alone("site.yaml", "", "")
    for archive, prefix in (("a.zip", ""), ("", "experiments/one")):
        check_alone("", archive, prefix)
        with pytest.raises(UsageError, match="--manifest stands alone"):
            check_alone("site.yaml", archive, prefix)


@pytest.mark.parametrize(
    "text",
    ["- a\n- b\n", "a: 1\n", "a: [", "", "a/b: c.zip", "[a]: b", "a:\n", '"": c.zip', "? \n: c.zip", 'a: ""'],
)
def test_manifest_without_archives_is_bad_usage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="The manifest"):
        site.read_manifest(path)
