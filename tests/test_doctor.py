"""`invoke doctor` as a whole, on a machine that is not set up."""

import json
from pathlib import Path

from tests.program import Ended, Here


def doctor(here: Here, tmp_path: Path, *options: str) -> Ended:
    credentials = str(tmp_path / "absent.json")
    return here.inv(
        "doctor", "--environment", "staging", *options, GOOGLE_APPLICATION_CREDENTIALS=credentials
    )


def test_each_cause_is_one_problem_with_its_fix(here: Here, tmp_path: Path) -> None:
    done = doctor(here, tmp_path, "--json")

    assert done.code == 1
    findings = {(f["area"], f["subject"]): f for f in json.loads(done.stdout)}
    credentials = findings["this machine", "Google credentials"]
    assert (credentials["state"], "gcloud auth application-default login" in credentials["fix"]) == (
        "problem",
        True,
    )
    files = findings["staging", "encrypted files"]
    assert (files["state"], files["detail"].splitlines()[0]) == (
        "problem", "4 of 4 encrypted files are missing; the owner of the key adds them.",
    )  # fmt: skip
    assert "kubernetes/overlays/staging/secrets/lookit-secrets.env.enc" in files["detail"]
    for subject in ("secrets decrypt", "cluster and permissions", "bucket"):
        assert findings["staging", subject]["state"] == "skipped"
    assert findings["staging", "manifests"]["state"] == "ok"
    assert "2 of " in done.stderr


def test_the_table_is_printed_on_stderr(here: Here, tmp_path: Path) -> None:
    done = doctor(here, tmp_path)

    assert (done.code, done.stdout) == (1, "")
    assert "│ staging" in done.stderr
    assert "needs: Google credentials" in done.stderr
    assert done.stderr.splitlines()[-1] == "  next: Each row above says how to fix it."
