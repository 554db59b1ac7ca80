"""`invoke doctor` against the sandbox: without problems, and with one problem each."""

import json
from typing import Any

import pytest

from tasks.lib.doctor.checks import Finding, run
from tasks.lib.doctor.environment import all_checks
from tasks.lib.settings.model import Settings
from tests.sandbox_case import Case, merged

pytestmark = pytest.mark.e2e


def _finding(settings: Settings, subject: str) -> Finding:
    """What one check of staging finds."""
    checks = all_checks(settings, [settings.environment("staging")])
    (found,) = run([check for check in checks if (check.area, check.subject) == ("staging", subject)])
    return found


def test_a_running_sandbox_has_no_problem(environment: Case) -> None:
    done = environment.invoke("doctor", "--environment", "staging", "--json")

    assert done.returncode == 0, done.stderr
    found = {one["subject"]: one for one in json.loads(done.stdout) if one["area"] == "staging"}
    assert {subject: one["state"] for subject, one in found.items()} == {
        "manifests": "ok", "encrypted files": "ok", "release key": "ok", "secrets decrypt": "ok",
        "cluster and permissions": "ok", "add-ons": "note", "bucket": "ok",
        "database backups": "ok",
    }  # fmt: skip
    assert found["add-ons"]["detail"].splitlines()[1:] == [
        "ingress-nginx is not installed.", "cert-manager is not installed.",
    ]  # fmt: skip
    assert found["bucket"]["detail"] == f"gs://{environment.name}"
    assert found["cluster and permissions"]["detail"].startswith("lookit-staging; all ")


@pytest.mark.parametrize(
    ("changed", "subject", "said"),
    [
        ({"buckets": {"archives": "absent"}}, "bucket", "There is no bucket absent."),
        ({"overlay": "overlays/none"}, "manifests", "The overlay does not exist."),
        (
            {"database": {"instance": "mit-lookit:us-east1:none"}},
            "database backups",
            "There is no Cloud SQL instance mit-lookit:us-east1:none.",
        ),
        ({"cluster": "other"}, "cluster and permissions", "There is no cluster"),
    ],
    ids=["bucket", "overlay", "database", "cluster"],
)
def test_a_wrong_setting_is_found(
    environment: Case, changed: dict[str, Any], subject: str, said: str
) -> None:
    settings = environment.sandbox.overlaid(
        merged(environment.values, {"environments": {"staging": changed}})
    )

    finding = _finding(settings, subject)

    assert finding.state == "problem"
    assert said in finding.detail
    assert finding.fix


def test_a_missing_key_of_the_manifests_is_named(environment: Case) -> None:
    expected = environment.tree / "overlays/case/secrets/lookit-secrets.env.expected"
    expected.write_text(expected.read_text() + "NEWLY_NEEDED=\n")

    assert _finding(environment.settings, "secrets decrypt").detail == (
        "The secrets lack keys that the manifests need.\nlookit-secrets.env lacks NEWLY_NEEDED"
    )
