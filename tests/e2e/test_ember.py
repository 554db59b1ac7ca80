"""Ember apps through the command line, in the sandbox's own bucket, with its tokens."""

import json
import os
import signal
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbox import example
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
    assert "send     experiments/0b7e/assets/vendor-" in preview.stderr
    url = run(environment, "upload", *PLACE, "--archive", first).strip()
    one = json.loads(run(environment, "ember.list", *PLACE, "--json"))[0]["name"]
    assert 'data-version="1"' in page(url)

    summary = json.loads(run(environment, "upload", *PLACE, "--archive", second, "--no-activate", "--json"))
    two = summary["revision"]
    assert (summary["active"], summary["copied"]) == (one, 3)
    assert 'data-version="1"' in page(url)

    assert run(environment, "ember.activate", two[:8], *PLACE).strip() == url
    assert 'data-version="2"' in page(url)
    verified = environment.invoke("ember.verify", *PLACE)
    assert verified.stderr.strip().endswith(f"Revision {two} is complete, and served as it should be.")

    run(environment, "ember.rollback", *PLACE)
    assert 'data-version="1"' in page(url)
    pruned = environment.invoke("ember.prune", *PLACE, "--keep", "0", "--older-than", "0", "--dry-run")
    assert f"{two} would be removed." in pruned.stderr
    shown = environment.invoke("ember.list", *PLACE)
    assert "active" in shown.stderr


def test_a_bad_archive_lists_its_problems_without_traceback(environment: Case, tmp_path: Path) -> None:
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


def test_a_dry_run_of_a_site_writes_nothing(environment: Case, tmp_path: Path) -> None:
    archives.saved(tmp_path, archives.zipped(example.files("1")), "1.zip")
    manifest, rest = tmp_path / "site.yaml", tmp_path / "site.rest.yaml"
    manifest.write_text("0b7e-dry: 1.zip\n")
    rest.write_text("kept\n")
    done = environment.invoke("upload", "--environment", "staging", "--manifest", str(manifest), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0b7e-dry: send     experiments/0b7e-dry/assets/" in done.stderr
    assert rest.read_text() == "kept\n"


def site(folder: Path, uuids: Sequence[str]) -> Path:
    """A manifest beside its archives."""
    for uuid in uuids:
        archives.saved(folder, archives.zipped(example.files(uuid)), f"{uuid}.zip")
    manifest = folder / "site.yaml"
    manifest.write_text("".join(f"{uuid}: {uuid}.zip\n" for uuid in uuids))
    return manifest


def test_a_site_with_failures_continues_with_the_remaining_manifest(
    environment: Case, tmp_path: Path
) -> None:
    uuids = [f"0b7e-{number}" for number in range(6)]
    manifest, rest = site(tmp_path, uuids), tmp_path / "site.rest.yaml"
    (tmp_path / "0b7e-4.zip").write_bytes(b"no archive")
    upload = ("upload", "--environment", "staging", "--json", "--manifest")

    done = environment.invoke(*upload, str(manifest), INVOKE_EMBER_CONNECTIONS="3")
    assert done.returncode == 1, done.stderr
    assert "5 of 6 archives: 50 files: 50 sent (" in done.stderr
    assert f"run again with --manifest {rest}: it lists only them." in done.stderr
    summary = json.loads(done.stdout)
    assert (len(summary["done"]), list(summary["failed"])) == (5, ["0b7e-4"])
    assert sum(one["connections"] for one in summary["done"].values()) <= 3
    assert rest.read_text() == f"0b7e-4: {tmp_path}/0b7e-4.zip\n"

    site(tmp_path, ["0b7e-4"])
    again = json.loads(run(environment, *upload, str(rest)))
    for uuid, one in (*summary["done"].items(), *again["done"].items()):
        assert f'data-version="{uuid}"' in page(one["url"])
    assert set(summary["done"]) | set(again["done"]) == set(uuids)


def test_an_interrupted_site_continues_with_the_remaining_manifest(environment: Case, tmp_path: Path) -> None:
    uuids = [f"0b7e-{number}" for number in range(4)]
    manifest, rest = site(tmp_path, uuids), tmp_path / "site.rest.yaml"
    (tmp_path / "0b7e-1.zip").unlink()
    os.mkfifo(tmp_path / "0b7e-1.zip")
    upload = ("upload", "--environment", "staging", "--manifest")

    # Whoever opens this end waits until the upload has opened the other; it then waits for bytes.
    with environment.started(*upload, str(manifest)) as uploading, (tmp_path / "0b7e-1.zip").open("wb"):
        uploading.send(signal.SIGTERM)
        code = uploading.end()
    told = uploading.said
    assert code == 143, told
    assert " of 4 archives were done. " in told
    assert f"{rest} lists the others." in told
    assert "Traceback" not in told
    assert "0b7e-1" in rest.read_text()

    (tmp_path / "0b7e-1.zip").unlink()
    site(tmp_path, uuids)
    run(environment, *upload, str(rest))
    checked = environment.invoke(*upload, str(manifest))
    assert "4 of 4 archives: 40 files: 0 sent (0 B), 40 unchanged." in checked.stderr
    assert not rest.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ember.prune", *PLACE, "--keep", "x"), "An option has the value 'x', but should be a whole number"),
        (("upload", *PLACE, "--manifest", "site.yaml"), "--manifest stands alone."),
    ],
    ids=["no number", "a manifest and a prefix"],
)
def test_what_cannot_be_meant_is_bad_usage(environment: Case, arguments: tuple[str, ...], said: str) -> None:
    done = environment.invoke(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
