"""`invoke doctor` as a whole, on a machine that nobody has set up."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.builders import ROOT
from tests.program import Here

DOCTOR = ("doctor", "--environment", "staging")


def test_each_cause_is_one_fault_with_the_way_to_mend_it(tmp_path: Path) -> None:
    environ = {**os.environ, "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "absent.json")}
    done = subprocess.run(
        [sys.executable, "-m", "tasks", *DOCTOR, "--json"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

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


def test_people_get_a_table_on_stderr(here: Here, tmp_path: Path) -> None:
    done = here.inv(*DOCTOR, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "absent.json"))

    assert (done.code, done.stdout) == (1, "")
    assert "│ staging" in done.stderr
    assert "needs: Google credentials" in done.stderr
    assert done.stderr.splitlines()[-1] == "  next: Each row above says how to mend it."
