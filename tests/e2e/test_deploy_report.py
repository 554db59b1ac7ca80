"""The report of real deploys, looked at in a real browser as wide as a phone."""

import base64
import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.browser import seen
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

COMMIT = "a" * 40


def options(case: Case) -> tuple[str, ...]:
    return ("deploy", "--branch", "develop", "--commit", COMMIT, "--report", str(case.folder / "report"))


def content(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case.folder / "report" / "deploy.json").read_text())
    return found


def secret_values(case: Case) -> list[str]:
    listed = json.loads(case.kubectl("get", "secrets", "--field-selector=type=Opaque", "-o", "json"))["items"]
    values = [base64.b64decode(v).decode() for item in listed for v in (item.get("data") or {}).values()]
    assert values
    return [value for value in values if len(value) >= 6]


@pytest.mark.browser
def test_a_deploy_and_a_failed_one_read_on_a_phone(environment: Case, chromium: str) -> None:
    folder = environment.folder / "report"
    done = environment.invoke(*options(environment))
    assert done.returncode == 0, done.stderr
    assert f"report: {folder / 'deploy.html'}" in done.stderr
    good = content(environment)
    assert (good["result"], good["exit_code"], len(good["objects"])) == ("deployed", 0, 32)
    assert any(line["line"].startswith("Running migrations:") for line in good["log"])
    assert json.loads(good["release"]["images"])
    looked = seen(chromium, folder, "deploy.html")
    assert (looked["scrolls"], looked["wide"], looked["scripts"]) == (390, 0, 0)
    assert (looked["bars"], looked["phases"]) == (32, 6)

    environment.behave(
        "Job", "migration", "job-fail", exit_code="3", logs="<script>parent.ran.push(1)</script>"
    )
    environment.patch("Job", "migration", {"spec": {"backoffLimit": 0}})
    failed = environment.invoke(*options(environment), "--jobs")
    assert failed.returncode == 1
    bad = content(environment)
    assert (bad["result"], bad["exit_code"]) == ("failed", 1)
    assert bad["failure"]["what"] == f"Job {environment.name}-migration failed."
    looked = seen(chromium, folder, "deploy.html")
    assert (looked["scrolls"], looked["wide"], looked["scripts"], looked["ran"]) == (390, 0, 0, [])
    assert "<script>parent.ran.push(1)</script>" in looked["text"]
    assert "BackoffLimitExceeded" in looked["text"]
    for path in (folder / "deploy.json", folder / "deploy.html"):
        text = path.read_text()
        assert not [value for value in secret_values(environment) if value in text]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_deploy_that_timed_out_or_was_interrupted_has_a_report(environment: Case) -> None:
    environment.behave("Deployment", "web", "never-ready")
    late = environment.invoke(*options(environment), INVOKE_TIME_LIMITS_ROLLOUT="4s")
    assert late.returncode == 70
    assert (content(environment)["result"], content(environment)["exit_code"]) == ("timed out", 70)

    process = environment.start(*options(environment))
    assert process.stderr
    for line in process.stderr:
        if "0 of 1 available" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 143
    stopped = content(environment)
    assert (stopped["result"], stopped["exit_code"]) == ("interrupted", 143)
    assert stopped["failure"]["what"] == "Stopped by SIGTERM."
    assert not list(Path(environment.folder / "report").glob(".*"))
