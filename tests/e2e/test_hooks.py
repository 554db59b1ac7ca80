"""Hooks and notifications of a deploy, as a process of its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from tests.sandbox_case import Case
from tests.webhook import Receiver

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


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


def test_hooks_run_around_a_deploy_and_a_chat_that_fails_first_is_told(
    environment: Case, slack: Receiver
) -> None:
    case = hooked(
        environment, before_deploy=["settings --json"],
        after_deploy=["release.status --environment staging --exit-code", "release.show 99 --environment staging"],
    )  # fmt: skip
    slack.answers = [503]

    done = case.invoke("deploy", "--branch", "develop", "--commit", "f" * 40, CHAT=slack.url)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Everything is as that release made it." in done.stderr
    assert "ATTENTION: The hook `release.show 99 --environment staging` (after_deploy) failed" in done.stderr
    assert slack.url not in done.stderr
    first, last = (message["text"] for message in slack.messages)
    assert first == "staging: fffffff (develop) is being deployed."
    assert last.startswith("staging: fffffff (develop) is deployed: The hook `release.show 99")


def test_a_failing_hook_before_stops_the_deploy_before_anything_changes(
    environment: Case, slack: Receiver
) -> None:
    case = hooked(
        environment, before_deploy=["release.status --environment staging"],
        after_failure=["settings --json"],
    )  # fmt: skip

    done = case.invoke("deploy", "--branch", "develop", "--commit", "f" * 40, CHAT=slack.url)

    assert done.returncode == 1
    assert "(before_deploy) failed with exit code 1. Nothing was changed." in done.stderr
    assert "hook after_failure: settings --json" in done.stderr
    made = set(environment.kubectl("get", "deployments,configmaps", "-o", "name").split())
    assert made <= {"configmap/kube-root-ca.crt"}, "a controller makes that, in its own time"
    assert "could not be deployed" in slack.messages[-1]["text"]


def test_a_roll_back_runs_the_hooks_after_it_for_the_commit_that_is_back_and_a_chat_is_told(
    environment: Case, slack: Receiver
) -> None:
    for commit in ("a" * 40, "b" * 40):
        done = environment.invoke("deploy", "--branch", "develop", "--commit", commit)
        assert done.returncode == 0, done.stderr
    case = hooked(
        environment, before_deploy=["release.show 99 --environment staging"],
        after_deploy=["render --environment staging"],
    )  # fmt: skip

    done = case.invoke("release.rollback", "--environment", "staging", CHAT=slack.url)

    assert done.returncode == 0, done.stderr
    assert f"lookit:{'a' * 40}" in done.stderr
    assert "hook before_deploy" not in done.stderr
    assert [message["text"] for message in slack.messages] == [
        "staging: aaaaaaa (develop) is being brought back.",
        "staging: aaaaaaa (develop) is back.",
    ]


def test_a_roll_back_that_does_not_become_ready_tells_the_chat_so(environment: Case, slack: Receiver) -> None:
    environment.behave("Deployment", "web", "crash-loop")
    done = environment.invoke("deploy", "--branch", "develop", "--commit", "a" * 40, "--no-rollback")
    assert done.returncode == 1, done.stderr
    case = hooked(environment, after_failure=["settings --json"])

    done = case.invoke("release.rollback", "--environment", "staging", "--to", "1", CHAT=slack.url)

    assert done.returncode == 1, done.stderr
    assert "hook after_failure: settings --json" in done.stderr
    last = slack.messages[-1]["text"]
    assert last.startswith("staging: aaaaaaa (develop) could not be brought back: Deployment ")
