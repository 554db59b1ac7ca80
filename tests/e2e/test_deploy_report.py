"""The report of real deploys, looked at in a real browser as wide as a phone."""

import json
import stat
from typing import Any

import pytest

from tests.browser import seen
from tests.deployed import SECRET, deploy, deployed, job, secret_values
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def content(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case.folder / "report" / "deploy.json").read_text())
    return found


@pytest.mark.browser
def test_a_deploy_and_a_failed_one_read_on_a_phone(environment: Case, chromium: str) -> None:
    folder = environment.folder / "report"
    said = deployed(environment, "--report", str(folder))
    assert f"report: {folder / 'deploy.html'}" in said
    good = content(environment)
    assert (good["result"], good["exit_code"], len(good["objects"])) == ("deployed", 0, 32)
    assert any(line["line"].startswith("Running migrations:") for line in good["log"])
    assert json.loads(good["release"]["images"])
    looked = seen(chromium, folder, "deploy.html")
    assert (looked["scrolls"], looked["wide"], looked["scripts"]) == (390, 0, 0)
    assert (looked["bars"], looked["phases"]) == (32, 6)

    migration = job(behaviour="job-fail")
    notes = migration["spec"]["template"]["metadata"]["annotations"]
    notes["sandbox.lookit.org/logs"] = "<script>parent.ran.push(1)</script>"
    environment.hold_only(SECRET, migration)
    failed = deploy(environment, "--report", str(folder))
    assert failed.code == 1
    bad = content(environment)
    assert (bad["result"], bad["exit_code"]) == ("failed", 1)
    assert bad["failure"]["what"] == "Job migration failed."
    looked = seen(chromium, folder, "deploy.html")
    assert (looked["scrolls"], looked["wide"], looked["scripts"], looked["ran"]) == (390, 0, 0, [])
    assert "<script>parent.ran.push(1)</script>" in looked["text"]
    assert "BackoffLimitExceeded" in looked["text"]
    for path in (folder / "deploy.json", folder / "deploy.html"):
        text = path.read_text()
        assert not [value for value in secret_values(environment) if value in text]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
