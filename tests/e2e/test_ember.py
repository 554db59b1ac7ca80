"""Ember apps through the command line, in the sandbox's own bucket, with its tokens."""

import json
import urllib.request
from pathlib import Path

import pytest

from tasks.lib.sandbox import example
from tests.lib.ember import archives
from tests.sandbox_case import Case

pytestmark = pytest.mark.e2e
PLACE = ("--environment", "staging", "--prefix", "experiments/0b7e")


def run(environment: Case, *arguments: str) -> str:
    """The standard output of a task that succeeds."""
    done = environment.invoke(*arguments)
    assert done.returncode == 0, done.stderr
    found: str = done.stdout
    return found


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        data: bytes = answer.read()
        return data.decode()


def test_the_life_of_an_app(environment: Case, tmp_path: Path) -> None:
    first, second = (
        archives.saved(tmp_path, archives.tar_gz(example.files(version)), f"{version}.tar.gz")
        for version in "12"
    )
    preview = environment.invoke("upload", *PLACE, "--archive", first, "--dry-run")
    assert "send     experiments/0b7e/revisions/" in preview.stderr
    url = run(environment, "upload", *PLACE, "--archive", first).strip()
    one = json.loads(run(environment, "ember.list", *PLACE, "--json"))[0]["name"]
    assert f"revisions/{one}/" in page(url)

    summary = json.loads(run(environment, "upload", *PLACE, "--archive", second, "--no-activate", "--json"))
    two = summary["revision"]
    assert (summary["active"], summary["sent"], summary["copied"]) == (one, 4, 6)
    assert f"revisions/{one}/" in page(url)

    assert run(environment, "ember.activate", two[:8], *PLACE).strip() == url
    assert f"revisions/{two}/" in page(url)
    verified = environment.invoke("ember.verify", *PLACE)
    assert verified.stderr.strip().endswith(f"Revision {two} is whole, and served as it should be.")

    run(environment, "ember.rollback", *PLACE)
    assert f"revisions/{one}/" in page(url)
    pruned = environment.invoke("ember.prune", *PLACE, "--keep", "0", "--older-than", "0", "--dry-run")
    assert f"{two} would be removed (10 files)." in pruned.stderr
    shown = environment.invoke("ember.list", *PLACE)
    assert "active" in shown.stderr


def test_a_bad_archive_ends_with_its_faults_and_no_traceback(environment: Case, tmp_path: Path) -> None:
    source = archives.saved(tmp_path, archives.zipped({"index.html": b"<html>", "../x": b""}))
    done = environment.invoke("upload", *PLACE, "--archive", source)
    assert done.returncode == 1
    assert "- ../x: its path leads out of the archive (..)" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_sandbox_bucket_says_that_it_keeps_no_configuration(environment: Case) -> None:
    planned = environment.invoke("ember.bucket", "--environment", "staging", "--plan")
    assert planned.returncode == 0
    assert "3 parts differ." in planned.stderr
    told = environment.invoke("ember.bucket", "--environment", "staging", "--exit-code")
    assert told.returncode == 3
    both = environment.invoke("ember.bucket", "--environment", "staging", "--plan", "--apply")
    assert both.returncode == 2
    applied = environment.invoke("ember.bucket", "--environment", "staging", "--apply")
    assert applied.returncode == 1
    assert "did not keep it" in applied.stderr


def test_a_dry_run_of_a_site_writes_nothing_beside_its_manifest(environment: Case, tmp_path: Path) -> None:
    archives.saved(tmp_path, archives.zipped(example.files("1")), "1.zip")
    manifest, rest = tmp_path / "site.yaml", tmp_path / "site.rest.yaml"
    manifest.write_text("0b7e-dry: 1.zip\n")
    rest.write_text("kept\n")
    done = environment.invoke("upload", "--environment", "staging", "--manifest", str(manifest), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0b7e-dry: send     experiments/0b7e-dry/revisions/" in done.stderr
    assert rest.read_text() == "kept\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ember.prune", *PLACE, "--keep", "x"), "The value of an option is of the wrong kind"),
        (("upload", *PLACE, "--manifest", "site.yaml"), "--manifest stands alone."),
        (
            ("upload", *PLACE, "--archive", "x", "--in-place", "--no-activate"),
            "--no-activate is not for --in-place.",
        ),
    ],
    ids=["no number", "a manifest and a prefix", "in place and not activated"],
)
def test_what_cannot_be_meant_is_bad_usage(environment: Case, arguments: tuple[str, ...], said: str) -> None:
    done = environment.invoke(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
