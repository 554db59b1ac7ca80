"""`invoke rehearse` as a whole: the main job from nothing to an answering address, and what a failure shows."""

import json
import re
import secrets
import urllib.request

import pytest

from tasks.lib.redaction import Secret
from tests.builders import ROOT
from tests.heard import LONGEST
from tests.own_key import OwnKey
from tests.sandbox_case import Case
from tests.screen import on_screen

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

    assert done.code == 0, done.stderr
    table = _table(done.stderr)
    assert list(table) == STEPS
    assert all(result.startswith("done: ") and took for result, took in table.values())
    url = done.stdout.strip()
    with urllib.request.urlopen(url, timeout=LONGEST) as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<html" in answer.read()
    deployed = environment.kubectl(
        "get", "deployments", "-o", "jsonpath={range .items[*]}{.status.readyReplicas}{end}"
    )
    assert deployed == "1111"


def test_a_failed_rehearsal_stops_and_names_the_step(
    environment: Case,
) -> None:
    environment.patch("Job", "migration", {"spec": {"backoffLimit": 0}})  # its five retries take minutes
    environment.behave("Job", "migration", "job-fail", exit_code="3")

    argv, env = environment.argv("rehearse", "--branch", "develop"), environment.env(TERM="xterm", CI="")
    with on_screen(argv, ROOT, env, columns=120, lines=50) as screen:
        screen.until(lambda shown: any(f"Job {environment.name}-migration" in line for line in shown))
        assert screen.end() == 1

    assert not screen.cursor_hidden
    table = _table("\n".join(screen.whole))
    assert re.match(r"failed: .*migration", table["deploy and wait until ready"][0])
    assert [table[step] for step in STEPS[5:]] == [("not run", ""), ("not run", "")]


def test_an_unknown_branch_is_bad_usage_and_starts_nothing(environment: Case) -> None:
    done = environment.invoke("rehearse", "--branch", "feature")

    assert (done.code, done.stdout) == (2, "")
    assert "Known branches: develop → staging, master → production." in done.stderr


def real_looking(keys: list[str]) -> dict[str, str]:
    """Values as a real environment has them: names, words and hosts where they belong, secrets for the rest."""
    named = {
        "BUCKET_NAME": "lookit-staging", "DB_HOST": "staging-gcloud-sqlproxy", "DB_NAME": "lookit",
        "DB_USER": "admin", "GOOGLE_APPLICATION_CREDENTIALS": "/etc/googleAppCreds.json",
        "GS_BUCKET_NAME": "lookit-staging", "GS_PROJECT_ID": "mit-lookit", "JSPSYCH_S3_REGION": "us-east-1",
        "PIPE_ENVIRONMENT": "staging", "S3_BUCKET": "web", "S3_REGION": "us-east-1",
        "PIPE_ACCOUNT_HASH": "staging", "rabbitmq-password": "lookit", "OSF_OAUTH_CLIENT_ID": "application",
    }  # fmt: skip
    return {key: named.get(key, secrets.token_hex(20)) for key in keys}


def test_a_rehearsal_with_real_looking_settings_masks_nothing_but_secrets(environment: Case) -> None:
    """A value that is in the names of objects, such as DB_NAME's, must not make holes in all that is told."""
    corner = OwnKey(environment.sandbox, environment.folder, environment.name)
    folder = corner.tree / "overlays" / "staging" / "secrets"
    keys = [line.rstrip("=") for line in (folder / "lookit-secrets.env.expected").read_text().split()]
    values = real_looking([key for key in keys if not key.startswith("#")])
    account = json.loads((folder / "googleAppCreds.json.expected").read_text())
    account |= {"type": "service_account", "project_id": "mit-lookit", "private_key": secrets.token_hex(200)}
    corner.seal(**{
        "lookit-secrets.env": Secret("".join(f"{key}={value}\n" for key, value in values.items()).encode()),
        "googleAppCreds.json": Secret(json.dumps(account, indent=2).encode()),
    })  # fmt: skip
    corner.behave("Job", "migration", "", logs=f"DB lookit of admin, staging: {values['SECRET_KEY']}")

    done = corner.invoke("rehearse", "--branch", corner.name)

    assert done.returncode == 0, done.stderr
    masked = [line for line in done.stderr.splitlines() if "[redacted]" in line]
    assert [line.partition(" | ")[2] for line in masked] == ["DB lookit of admin, staging: [redacted]"]
    assert not any(value in done.stderr for value in values.values() if len(value) == 40)
    plan = corner.invoke("plan", "--branch", corner.name, "--json")
    assert "[redacted]" not in plan.stdout, plan.stdout
