"""What a deploy tells has no secret values."""

import base64
from typing import Any

import pytest

from tasks.lib.deploy.events import Decided, Event, LogLine, Notice, PhaseBegan, Told
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.session import masked
from tasks.lib.deploy.steps import Action, Change, Entry, Plan, Step
from tasks.lib.redaction import Redactor
from tests.lib.deploy.sessions import a_session

REF = Ref("v1", "Job", "default", "migration")


def plan(shown: str) -> Plan:
    entry = Entry("config", "ConfigMap", "c", "", "change", shown, (Change("data.a", shown, None),), "seal")
    return Plan("staging", (entry,))


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (LogLine("pod", "dsn=correct horse@db"), LogLine("pod", "dsn=[redacted]@db")),
        (Told(REF, "crashed: correct\nhorse, correct\x1b[1m horse"), Told(REF, "crashed: correct horse, [redacted]")),
        (Notice("correct horse"), Notice("[redacted]")),
        (Decided(plan("correct horse")), Decided(plan("[redacted]"))),
        (PhaseBegan("jobs"), PhaseBegan("jobs")),
    ],
)  # fmt: skip
def test_secret_values_do_not_get_through(event: Event, told: Event) -> None:
    heard: list[Event] = []
    masked(heard.append, Redactor(["correct horse"]))(event)
    assert heard == [told]


def live(name: str, value: str, kind: str = "Secret") -> dict[str, Any]:
    data = base64.b64encode(value.encode()).decode()
    return {"kind": kind, "metadata": {"name": name}, "data": {"password": data}}


def test_a_rotated_value_is_redacted_after_the_plan() -> None:
    ref = Ref("v1", "Secret", "default", "same-name")
    step = Step(Wanted(ref, {}), Action.CHANGE, "", {}, live("same-name", "the old password"))
    new = Step(Wanted(REF, {}), Action.CREATE, "", {})
    strays = {Ref("v1", "Secret", "default", "hashed-1"): live("hashed-1", "an older password")}
    others = {**strays, Ref("v1", "ConfigMap", "default", "c"): live("c", "configured", "ConfigMap")}
    planned = Planned((("config", (step, new)),), {}, {}, others=others)
    heard = list[Event]()
    session = a_session(told=heard)

    session.learn(planned.live_secrets)
    session.tell(LogLine("pod", "not the old password, an older password, configured"))

    assert heard == [LogLine("pod", "not [redacted], [redacted], configured")]
