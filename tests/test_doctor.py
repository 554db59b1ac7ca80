"""`invoke doctor` as a whole, on a machine that nobody has set up."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.builders import ROOT


def _doctor(tmp_path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "absent.json")}
    return subprocess.run(
        [sys.executable, "-m", "tasks", "doctor", "--environment", "staging", *options],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_each_cause_is_one_fault_with_the_way_to_mend_it(tmp_path: Path) -> None:
    done = _doctor(tmp_path, "--json")

    assert done.returncode == 1
    findings = {(f["area"], f["subject"]): f for f in json.loads(done.stdout)}
    credentials = findings["this machine", "Google credentials"]
    assert (credentials["state"], "gcloud auth application-default login" in credentials["mend"]) == (
        "fault",
        True,
    )
    files = findings["staging", "encrypted files"]
    assert (files["state"], files["detail"].splitlines()[0]) == (
        "fault", "4 of 4 encrypted files are still to be added by the key's owner.",
    )  # fmt: skip
    assert "kubernetes/overlays/staging/secrets/lookit-secrets.env.enc" in files["detail"]
    for subject in ("secrets decrypt", "cluster and permissions", "bucket"):
        assert findings["staging", subject]["state"] == "skipped"
    assert findings["staging", "manifests"]["state"] == "ok"
    assert "2 of " in done.stderr


def test_people_get_a_table_on_stderr(tmp_path: Path) -> None:
    done = _doctor(tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert "│ staging" in done.stderr
    assert "needs: Google credentials" in done.stderr
    assert done.stderr.splitlines()[-1] == "  next: Each row above says how to mend it."
