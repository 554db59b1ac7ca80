"""Notifications, against a receiver on loopback that keeps Slack's rules."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tasks.lib import retry
from tasks.lib.build_variables import BuildVariables
from tasks.lib.deploy import hooks
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tests.clock import Clock
from tests.webhook import Receiver, receiving

VARIABLES = BuildVariables(
    commit_sha="c" * 40, branch_name="develop", tag_name="1.0", repo_name="lookit-api", build_id="b-1"
)
CONTENT = {"text": "staging"}


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.mark.parametrize(
    ("event", "more", "text"),
    [
        ("start", "", "staging: ccccccc (develop) is being deployed."),
        ("success", "", "staging: ccccccc (develop) is deployed."),
        (
            "failure",
            "web <!here> & more",
            "staging: ccccccc (develop) could not be deployed: web &lt;!here&gt; &amp; more",
        ),
    ],
)
def test_a_message_has_a_text_and_a_block(event: str, more: str, text: str) -> None:
    said = hooks.message(event, hooks.DEPLOY, "staging", VARIABLES, more)
    assert said["text"] == text
    shown = json.dumps(said["blocks"])
    assert text in shown
    assert "build b-1" in shown


def test_what_others_had_deployed_is_named_without_a_commit() -> None:
    variables = replace(VARIABLES, commit_sha="", branch_name="")
    said = hooks.message("success", hooks.ROLLBACK, "staging", variables, "")
    assert said["text"] == "staging: the state before the first deploy is restored."


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(retry, "time", clock)
    return clock


def test_a_receiver_that_fails_first_is_asked_again(slack: Receiver, clock: Clock) -> None:
    slack.answers = [503, 429, 500]
    hooks.send(Secret(slack.url.encode()), CONTENT, 10)
    assert slack.messages == [CONTENT]
    assert slack.requests == 4
    assert clock.slept == sorted(clock.slept), "each pause is longer than the one before"


def test_a_refusal_is_final_and_does_not_name_the_address(slack: Receiver) -> None:
    with pytest.raises(Failure) as caught:
        hooks.send(Secret(slack.url.encode()), {}, 10)
    assert slack.requests == 1
    assert caught.value.why == "It answered 400."
    assert "secret" not in str(caught.value)


def test_it_gives_up_in_time(slack: Receiver, clock: Clock) -> None:
    slack.answers = [503] * 50
    with pytest.raises(Failure):
        hooks.send(Secret(slack.url.encode()), CONTENT, 2)
    assert slack.requests == len(clock.slept) + 1
    assert 0 < sum(clock.slept) <= 2


def test_an_unreachable_webhook_is_reported_without_its_url(clock: Clock) -> None:
    with pytest.raises(Failure) as caught:
        hooks.send(Secret(b"http://127.0.0.1:9/services/secret"), CONTENT, 0.5)
    assert "The connection failed" in caught.value.why
    assert "9/services" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "Cannot notify: HOOK is not set."),
        ("http://hooks.example.org/secret", "Cannot notify: HOOK holds no https address."),
        ("secret", "Cannot notify: HOOK holds no https address."),
        ("https://[your-hook]/secret", "Cannot notify: HOOK holds no https address."),
        ("https://[secret", "Cannot notify: HOOK holds no https address."),
        ("https://hooks.example.org/secret\udcff", "Cannot notify: HOOK holds no https address."),
    ],
)
def test_an_address_that_is_missing_or_unsafe_is_refused_unseen(value: str, what: str) -> None:
    with pytest.raises(Failure) as caught:
        hooks.address("HOOK", {"HOOK": value})
    assert str(caught.value) == what


@pytest.mark.parametrize("value", ["https://hooks.slack.com/services/x", "http://127.0.0.1:1/x"])
def test_an_address_is_a_secret(value: str) -> None:
    found = hooks.address("HOOK", {"HOOK": f"{value}\n"})
    assert (str(found), found.reveal().decode()) == ("[redacted]", value)
