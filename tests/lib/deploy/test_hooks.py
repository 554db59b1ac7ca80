"""Hooks and notifications around a deploy, with real processes and a real receiver."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy.events import Event, Notice
from tasks.lib.deploy.hooks import ROLLBACK, Hooks, Launcher
from tasks.lib.errors import Failure, TimedOut, UsageError
from tests.builders import checked_in_settings
from tests.webhook import Receiver, receiving

VARIABLES = BuildVariables(
    commit_sha="c" * 40, branch_name="develop", tag_name="1.0", repo_name="lookit-api", build_id="b-1"
)


class Script(Launcher):
    """Runs shell code where a deploy would start a task."""

    def argv(self, command: str) -> tuple[str, ...]:
        return ("sh", "-c", command.removeprefix("task "))


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving() as receiver:
        monkeypatch.setenv("CHAT", receiver.url)
        yield receiver


def hooked(told: list[Event], limit: str = "60s", **deploy: Any) -> Hooks:
    hooks = {"before_deploy": [], "after_deploy": [], "after_failure": [], **deploy.pop("hooks", {})}
    webhook = {"variable": "CHAT", "events": ["start", "success", "failure"]}
    values = {"hooks": hooks, "webhook": webhook, **deploy}
    settings = checked_in_settings(deploy=values, time_limits={"hook": limit, "webhook": "30s"})
    return Hooks(settings, settings.environment("staging"), VARIABLES, Script(), told.append)


def texts(slack: Receiver) -> list[str]:
    return [message["text"].partition(" (develop) ")[2] for message in slack.messages]


def test_a_roll_back_is_told_in_words_of_its_own(slack: Receiver) -> None:
    with replace(hooked([]), spoken=ROLLBACK).around():
        pass
    assert texts(slack) == ["is being restored.", "is restored."]


def test_a_good_deploy_is_told_at_its_start_and_end(slack: Receiver) -> None:
    with hooked([]).around():
        assert texts(slack) == ["is being deployed."]
    assert texts(slack) == ["is being deployed.", "is deployed."]


def test_a_failed_deploy_runs_hooks_and_stays_failed(slack: Receiver, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    hooks = {"after_failure": [f"task touch {ran}"]}
    with pytest.raises(Failure, match="It broke."), hooked([], hooks=hooks).around():
        raise Failure("It broke.", "secret words of a log")
    assert ran.exists()
    assert texts(slack)[1:] == ["could not be deployed: It broke."]
    assert "secret words" not in json.dumps(slack.messages)


def test_an_interrupted_deploy_is_told(slack: Receiver) -> None:
    with pytest.raises(KeyboardInterrupt), hooked([]).around():
        raise KeyboardInterrupt
    assert texts(slack)[1:] == ["could not be deployed: It was interrupted."]


def test_a_failing_hook_after_a_deploy_undoes_nothing(slack: Receiver) -> None:
    told: list[Event] = []
    with hooked(told, hooks={"after_deploy": ["task exit 3", "task true"]}).around():
        pass
    fault = "The hook `task exit 3` (after_deploy) failed with exit code 3. This does not undo the deploy."
    assert Notice(f"ATTENTION: {fault}") in told
    assert Notice("hook after_deploy: task true") not in told
    assert texts(slack)[-1] == f"is deployed: {fault}"


def test_a_hook_before_that_fails_stops_the_deploy(slack: Receiver) -> None:
    with pytest.raises(Failure) as caught:
        hooked([], hooks={"before_deploy": ["task exit 1"]}).before()
    assert caught.value.what.endswith("failed with exit code 1. Nothing was changed.")


def test_a_hook_that_takes_too_long_is_ended(slack: Receiver) -> None:
    with pytest.raises(TimedOut):
        hooked([], "0.2s", hooks={"before_deploy": ["task sleep 60"]}).before()


def test_a_hook_sees_the_build_and_not_the_address(slack: Receiver, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    hooked([], hooks={"before_deploy": [f"task env -0 > {seen}"]}).before()
    env = dict(line.split("=", 1) for line in seen.read_text().split("\0") if line)
    assert (env["COMMIT_SHA"], env["BRANCH_NAME"], env["LOOKIT_ENVIRONMENT"]) == (
        "c" * 40,
        "develop",
        "staging",
    )
    assert slack.url not in json.dumps(env)


def test_nobody_who_can_be_told_fails_no_deploy(slack: Receiver) -> None:
    slack.answers = [404, 404]
    told: list[Event] = []
    with hooked(told).around():
        pass
    assert told == [Notice("The notification was not delivered. It answered 404.")] * 2


@pytest.mark.parametrize("events", [[], ["failure"]])
def test_only_chosen_events_are_told(slack: Receiver, events: list[str]) -> None:
    with hooked([], webhook={"variable": "CHAT", "events": events}).around():
        pass
    assert slack.requests == 0


@pytest.mark.parametrize("command", ["deploy --branch develop", "Not a task", ""])
def test_a_hook_must_be_a_task_that_does_not_deploy(command: str) -> None:
    with pytest.raises(UsageError):
        hooked([], hooks={"before_deploy": [command]})


def test_a_task_is_started_as_this_one_was() -> None:
    argv = Launcher(Path("/x.yaml")).argv("release.sentry --branch 'a b'")
    assert argv[1:] == ("-m", "tasks", "-f", "/x.yaml", "release.sentry", "--branch", "a b")
