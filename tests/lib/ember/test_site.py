"""Many archives at once, against a real storage server."""

from pathlib import Path

import pytest

from tasks.lib.ember import site
from tasks.lib.ember.access import Access
from tasks.lib.ember.place import Place
from tasks.lib.ember.report import site as report
from tasks.lib.ember.summary import Options
from tasks.lib.errors import Failure, UsageError
from tasks.lib.sandbox import example
from tests.builders import checked_in_settings
from tests.lib.ember import archives

EMBER = checked_in_settings().ember


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


def test_what_fails_is_named_and_listed_for_the_next_run(
    access: Access, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = site.read_manifest(manifest)
    done = site.upload_all(access, EMBER, wanted, Options())
    assert set(done.done) == {f"uuid-{number}" for number in range(5)}
    rest = site.note_rest(manifest, wanted, done)
    assert rest == manifest.parent / "site.rest.yaml"
    with pytest.raises(Failure) as caught:
        report(done, rest, False, Options())
    assert caught.value.what == "1 of 6 archives could not be uploaded."
    assert "uuid-bad: The archive is refused" in caught.value.why
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert site.read_manifest(rest) == {"uuid-bad": str(manifest.parent / "bad.zip")}

    archives.saved(manifest.parent, archives.zipped(example.files("mended")), "bad.zip")
    again = site.upload_all(access, EMBER, site.read_manifest(rest), Options())
    assert (set(again.done), again.failed) == ({"uuid-bad"}, {})
    assert site.note_rest(rest, site.read_manifest(rest), again) is None


def test_a_path_that_cannot_be_looked_at_does_not_stop_the_others(access: Access, manifest: Path) -> None:
    wanted = {"long": "x" * 300, "zero": "a\0b", "sound": str(manifest.parent / "1.zip")}
    done = site.upload_all(access, EMBER, wanted, Options())
    assert set(done.done) == {"sound"}
    assert "File name too long" in done.failed["long"]
    assert "null byte" in done.failed["zero"]


@pytest.mark.parametrize("failed", [{"u": "why"}, {}])
def test_what_was_done_is_told_where_the_list_of_the_rest_cannot_be_written(
    tmp_path: Path, failed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.rest.yaml").mkdir()
    done = site.SiteSummary({}, failed)
    assert site.note_rest(tmp_path / "site.yaml", {"u": "a.zip"}, done) is None
    assert "could not be written: [Errno" in capsys.readouterr().err


def test_every_app_of_the_site_is_served(access: Access, manifest: Path) -> None:
    site.upload_all(access, EMBER, site.read_manifest(manifest), Options())
    for number in range(5):
        with Place(access, f"experiments/uuid-{number}", 4) as place:
            assert place.verify("", EMBER.bucket.cors).endswith("served as it should be.")


def test_a_dry_run_shows_each_app_and_leaves_the_list_of_the_rest_alone(
    access: Access, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(dry_run=True)
    done = site.upload_all(access, EMBER, site.read_manifest(manifest), options)
    with pytest.raises(Failure) as caught:
        report(done, None, False, options)
    assert caught.value.next_step == "Mend these, then run again."
    told = capsys.readouterr().err
    assert "uuid-3: send     experiments/uuid-3/revisions/" in told
    assert "uuid-3: 0 of 10 files are there already." in told
    with Place(access, "experiments/uuid-3", 1) as place:
        assert place.listed() == []


def test_one_line_adds_all_apps_up(
    access: Access, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifest.parent / "bad.zip").unlink()
    archives.saved(manifest.parent, archives.zipped(example.files("0")), "bad.zip")
    done = site.upload_all(access, EMBER, site.read_manifest(manifest), Options())
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
    site.check_alone("site.yaml", "", "")
    for archive, prefix in (("a.zip", ""), ("", "experiments/one")):
        site.check_alone("", archive, prefix)
        with pytest.raises(UsageError, match="--manifest stands alone"):
            site.check_alone("site.yaml", archive, prefix)


@pytest.mark.parametrize(
    "text",
    ["- a\n- b\n", "a: 1\n", "a: [", "", "a/b: c.zip", "[a]: b", "a:\n", '"": c.zip', "? \n: c.zip", 'a: ""'],
)
def test_a_manifest_that_is_no_list_of_archives_is_bad_usage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="The manifest"):
        site.read_manifest(path)
