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
        report(done, rest, False)
    assert caught.value.what == "1 of 6 archives could not be uploaded."
    assert "uuid-bad: The archive is refused" in caught.value.why
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert site.read_manifest(rest) == {"uuid-bad": str(manifest.parent / "bad.zip")}

    archives.saved(manifest.parent, archives.zipped(example.files("mended")), "bad.zip")
    again = site.upload_all(access, EMBER, site.read_manifest(rest), Options())
    assert (set(again.done), again.failed) == ({"uuid-bad"}, {})
    assert site.note_rest(rest, site.read_manifest(rest), again) is None


def test_every_app_of_the_site_is_served(access: Access, manifest: Path) -> None:
    site.upload_all(access, EMBER, site.read_manifest(manifest), Options())
    for number in range(5):
        with Place(access, f"experiments/uuid-{number}", 4) as place:
            assert place.verify("").endswith("served as it should be.")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: 1\n", "a: [", ""])
def test_a_manifest_that_is_no_list_of_archives_is_bad_usage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="The manifest"):
        site.read_manifest(path)
