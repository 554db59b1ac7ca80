"""Hooks and notifications of deploys and roll backs; hooks are processes of their own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from tests.deployed import COMMIT_A, COMMIT_B, CONFIG, RELEASE, deploy, image, objects, releases, web, words
from tests.sandbox_case import Case
from tests.webhook import Receiver

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

BACK = ("release.rollback", "--environment", "staging")


class Hooked(Case):
    """A corner with hooks and a chat to tell."""

    hooks: Mapping[str, Any]

    @property
    def values(self) -> dict[str, Any]:
        none: dict[str, Any] = {"before_deploy": [], "after_deploy": [], "after_failure": []}
        webhook = {"variable": "CHAT", "events": ["start", "success", "failure"]}
        return {**super().values, "deploy": {"hooks": {**none, **self.hooks}, "webhook": webhook}}


def hooked(case: Case, **hooks: list[str]) -> Hooked:
    fields = {field.name: getattr(case, field.name) for field in dataclasses.fields(case)}
    made = Hooked(**fields)
    object.__setattr__(made, "hooks", hooks)
    return made


@pytest.mark.long
def test_hooks_run_and_a_failing_webhook_is_retried(environment: Case, slack: Receiver) -> None:
    case = hooked(
        environment, before_deploy=["settings --json"],
        after_deploy=["release.status --environment staging --exit-code", "release.show 99 --environment staging"],
    )  # fmt: skip
    case.hold_only(web(), **RELEASE)
    slack.answers = [503]

    done = case.invoke_apart(*words(), CHAT=slack.url)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "No drift." in done.stderr
    assert "ATTENTION: The hook `release.show 99 --environment staging` (after_deploy) failed" in done.stderr
    assert slack.url not in done.stderr
    first, last = (message["text"] for message in slack.messages)
    assert first == "staging: aaaaaaa (develop) is being deployed."
    assert last.startswith("staging: aaaaaaa (develop) is deployed: The hook `release.show 99")

    assert_a_failed_release_is_kept_as_it_is_where_that_is_asked_for(environment)
    assert_the_last_good_release_comes_back_and_its_hooks_and_chat_hear_of_it(environment, slack)
    assert_a_roll_back_that_does_not_become_ready_is_told(environment, slack)


def assert_a_failed_release_is_kept_as_it_is_where_that_is_asked_for(case: Case) -> None:
    case.hold_only(web("crash-loop"), **RELEASE)
    bad = deploy(case, "--no-rollback", "--tag", "2.0", commit=COMMIT_B)
    assert bad.code == 1
    assert "Rollback is disabled" in bad.stderr
    assert image(case).endswith(COMMIT_B)


def assert_the_last_good_release_comes_back_and_its_hooks_and_chat_hear_of_it(
    environment: Case, slack: Receiver
) -> None:
    case = hooked(
        environment, before_deploy=["release.show 99 --environment staging"],
        after_deploy=["render --environment staging"],
    )  # fmt: skip

    done = case.invoke_apart(*BACK, CHAT=slack.url)

    assert done.returncode == 0, done.stderr
    assert f"lookit:{COMMIT_A}" in done.stderr, "the manifests of the commit that is back"
    assert "hook before_deploy" not in done.stderr
    assert "The database is not changed: migrations are not reversed." in done.stderr
    assert [message["text"] for message in slack.messages[-2:]] == [
        "staging: aaaaaaa (develop) is being restored.",
        "staging: aaaaaaa (develop) is restored.",
    ]
    assert image(environment).endswith(COMMIT_A)
    listed = releases(environment)
    assert [(one["number"], one["commit"], one["tag"], one["result"]) for one in listed] == [
        (3, COMMIT_A, "latest", "deployed"),
        (2, COMMIT_B, "2.0", "failed"),
        (1, COMMIT_A, "latest", "deployed"),
    ]
    assert listed[0]["back_to"] == "1"


def assert_a_roll_back_that_does_not_become_ready_is_told(environment: Case, slack: Receiver) -> None:
    case = hooked(environment, after_failure=["settings --json"])

    done = case.invoke_apart(*BACK, "--to", "2", CHAT=slack.url)

    assert done.returncode == 1, done.stderr
    assert "hook after_failure: settings --json" in done.stderr
    last = slack.messages[-1]["text"]
    assert last.startswith("staging: bbbbbbb (develop) could not be restored: Deployment ")


def test_a_failing_hook_before_stops_the_deploy_before_anything_changes(
    environment: Case, slack: Receiver
) -> None:
    case = hooked(
        environment, before_deploy=["release.status --environment staging"],
        after_failure=["settings --json"],
    )  # fmt: skip
    case.hold_only(web(), CONFIG, **RELEASE)

    done = case.invoke_apart(*words(), CHAT=slack.url)

    assert done.returncode == 1
    assert "(before_deploy) failed with exit code 1. Nothing was changed." in done.stderr
    assert "hook after_failure: settings --json" in done.stderr
    made = set(objects(environment, "deployments", "configmaps"))
    assert made <= {"ConfigMap/kube-root-ca.crt"}, "a controller makes that, in its own time"
    assert "could not be deployed" in slack.messages[-1]["text"]
