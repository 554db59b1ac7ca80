"""History and rolling back, through the sandbox's real API server."""

import json

import pytest

from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def image(case: Case) -> str:
    web = json.loads(case.kubectl("get", "deployment", f"{case.name}-web", "-o", "json"))
    found: str = web["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def test_a_failed_release_is_kept_and_the_last_good_one_brought_back(environment: Case) -> None:
    good = environment.invoke("deploy", "--branch", "develop", "--commit", "a" * 40, "--tag", "1.0")
    assert good.returncode == 0, good.stderr
    before = image(environment)
    environment.behave("Deployment", "web", "crash-loop")
    bad = environment.invoke(
        "deploy", "--branch", "develop", "--commit", "b" * 40, "--tag", "2.0", "--no-rollback"
    )
    assert bad.returncode == 1
    assert image(environment) != before

    back = environment.invoke("release.rollback", "--environment", "staging")

    assert back.returncode == 0, back.stderr
    assert "The database stays as it is: migrations are not reversed." in back.stderr
    assert image(environment) == before
    listed = json.loads(environment.invoke("release.list", "--environment", "staging", "--json").stdout)
    assert [(one["number"], one["commit"][0], one["tag"], one["result"]) for one in listed] == [
        (3, "a", "1.0", "deployed"),
        (2, "b", "2.0", "failed"),
        (1, "a", "1.0", "deployed"),
    ]
    assert listed[0]["back_to"] == "1"


def test_a_release_that_is_not_kept_is_refused(environment: Case) -> None:
    done = environment.invoke("release.rollback", "--environment", "staging", "--to", "9")
    assert done.returncode == 2
    assert "There is no release 9." in done.stderr
