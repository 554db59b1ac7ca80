"""`invoke rehearse` as a whole: the main job from nothing to an answering address, and what a failure shows."""

import re
import urllib.request

import pytest

from tests.sandbox_case import Case

pytestmark = pytest.mark.e2e

STEPS = [
    "bring the sandbox up",
    "encrypt placeholder secrets",
    "decrypt secrets",
    "render and validate manifests",
    "deploy and wait until ready",
    "upload an example Ember app",
    "open its URL",
]


def _table(text: str) -> dict[str, tuple[str, str]]:
    """The step table at the end: step → (result, time), with wrapped cells joined."""
    rows: dict[str, tuple[str, str]] = {}
    last = ""
    for line in text.partition("Rehearsal of staging\n")[2].splitlines():
        cells = [cell.strip() for cell in line[1:-1].split("│")]
        if len(cells) == 3:
            last = cells[0] or last
            result, took = rows.get(last, ("", ""))
            rows[last] = (result + cells[1], took or cells[2])
    return rows


def test_a_rehearsal_takes_every_step_and_the_address_answers(environment: Case) -> None:
    done = environment.invoke("rehearse", "--branch", "develop")

    assert done.returncode == 0, done.stderr
    table = _table(done.stderr)
    assert list(table) == STEPS
    assert all(result.startswith("done: ") and took for result, took in table.values())
    url = done.stdout.strip()
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<html" in answer.read()
    deployed = environment.kubectl(
        "get", "deployments", "-o", "jsonpath={range .items[*]}{.status.readyReplicas}{end}"
    )
    assert deployed == "1111"


def test_a_rehearsal_that_fails_says_at_which_step_and_runs_no_further(environment: Case) -> None:
    environment.patch("Job", "migration", {"spec": {"backoffLimit": 0}})  # its five retries take minutes
    environment.behave("Job", "migration", "job-fail", exit_code="3")

    done = environment.invoke("rehearse", "--branch", "develop")

    assert (done.returncode, done.stdout) == (1, "")
    table = _table(done.stderr)
    assert re.match(r"failed: .*migration", table["deploy and wait until ready"][0])
    assert [table[step] for step in STEPS[5:]] == [("not run", ""), ("not run", "")]


def test_an_unknown_branch_is_bad_usage_and_starts_nothing(environment: Case) -> None:
    done = environment.invoke("rehearse", "--branch", "feature")

    assert (done.returncode, done.stdout) == (2, "")
    assert "Known branches: develop → staging, master → production." in done.stderr
