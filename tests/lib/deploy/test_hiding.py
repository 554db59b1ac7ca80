import base64
import json
from typing import Any

import pytest

from tasks.lib.deploy.decide import Action, Step
from tasks.lib.deploy.engine import Planned
from tasks.lib.deploy.hiding import learn, masked, masked_failures, values_of, values_to_mask
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.progress import Event, LogLine, Notice, PhaseBegan, Told
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.render.documents import Document

REF = Ref("v1", "Job", "default", "migration")
DOCUMENTS = [
    Document("", {"kind": "ConfigMap", "data": {"plain": "not-a-secret"}}),
    Document("", {"kind": "Secret", "data": {"password": base64.b64encode(b"correct horse").decode()}}),
    Document("", {"kind": "Secret", "stringData": {"token": "battery staple"}}),
]


def test_every_value_of_every_secret_is_masked() -> None:
    found = values_to_mask(DOCUMENTS, {"file": Secret(b"a whole file\n")})
    assert {"battery staple", "correct horse", "a whole file"} < set(found)
    assert found == sorted(found, key=len, reverse=True)


KEY = b'{\n  "private_key": "correct\\nhorse",\n  "client": "battery \xc3\xa9 staple"\n}\n'


@pytest.mark.parametrize(
    "line",
    [
        *KEY.decode().splitlines()[1:-1],
        json.dumps(KEY.decode().strip()),
        base64.b64encode(KEY.strip()).decode(),
    ],
    ids=["one line", "another line", "in JSON", "in base64"],
)
@pytest.mark.parametrize("source", ["file", "rendered"])
def test_a_value_of_many_lines_is_masked_however_a_container_prints_it(source: str, line: str) -> None:
    rendered = Document("", {"kind": "Secret", "data": {"key": base64.b64encode(KEY).decode()}})
    values = (
        values_to_mask([rendered], {}) if source == "rendered" else values_to_mask([], {"k": Secret(KEY)})
    )
    heard: list[Event] = []

    masked(heard.append, values)(LogLine("pod", line))
    with pytest.raises(Failure) as caught, masked_failures(values):
        raise Failure("it crashed", f"last lines:\n  {line}")

    for said in (str(heard), str(caught.value)):
        assert "[redacted]" in said
        assert "correct" not in said
        assert "staple" not in said
        assert line not in said


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (LogLine("pod", "dsn=correct horse@db"), LogLine("pod", "dsn=[redacted]@db")),
        (Told(REF, "crashed: correct horse"), Told(REF, "crashed: [redacted]")),
        (Notice("correct horse"), Notice("[redacted]")),
        (PhaseBegan("jobs"), PhaseBegan("jobs")),
    ],
)
def test_secret_values_do_not_get_through(event: Event, told: Event) -> None:
    heard: list[Event] = []
    masked(heard.append, ["correct horse"])(event)
    assert heard == [told]


def test_a_failure_that_quotes_a_log_is_masked_too() -> None:
    with pytest.raises(Failure) as caught, masked_failures(["correct horse"]):
        raise Failure("correct horse failed", "log: correct horse", "look")
    assert str(caught.value) == "[redacted] failed\n  why:  log: [redacted]\n  next: look"


def live(name: str, value: str, kind: str = "Secret") -> dict[str, Any]:
    data = base64.b64encode(value.encode()).decode()
    return {"kind": kind, "metadata": {"name": name}, "data": {"password": data}}


def test_a_value_that_was_rotated_is_masked_once_the_plan_has_seen_it() -> None:
    ref = Ref("v1", "Secret", "default", "same-name")
    step = Step(Wanted(ref, {}), Action.CHANGE, "", {}, live("same-name", "the old password"))
    new = Step(Wanted(REF, {}), Action.CREATE, "", {})
    strays = {Ref("v1", "Secret", "default", "hashed-1"): live("hashed-1", "an older password")}
    others = {**strays, Ref("v1", "ConfigMap", "default", "c"): live("c", "configured", "ConfigMap")}
    planned = Planned((("config", (step, new)),), {}, {}, others=others)
    values, heard = ["correct horse"], list[Event]()
    tell = masked(heard.append, values)

    def course() -> None:
        learn(values, planned.live_secrets)
        tell(LogLine("pod", "not the old password"))
        raise Failure("it crashed", "an older password, configured: correct horse")

    with pytest.raises(Failure) as caught, masked_failures(values):
        course()

    assert heard == [LogLine("pod", "not [redacted]")]
    assert caught.value.why == "[redacted], configured: [redacted]"


def test_the_namespace_that_a_token_names_is_no_secret() -> None:
    data = {
        name: base64.b64encode(value).decode()
        for name, value in (("namespace", b"staging"), ("token", b"abcdef"))
    }
    token = {"kind": "Secret", "type": "kubernetes.io/service-account-token", "data": data}
    assert "staging" not in values_of([token])
    assert "abcdef" in values_of([token])
