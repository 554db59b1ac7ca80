"""What is told of plain data without asking is what the API server's own dry run says: many random changes."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tasks.lib.cluster.connection import Connection, connect
from tasks.lib.cluster.refusal import ApiError
from tasks.lib.deploy.objects import Wanted, wanted
from tasks.lib.deploy.plan import foretold
from tasks.lib.deploy.plan.decide import Action, Step, decide
from tasks.lib.deploy.plan.diff import changes
from tasks.lib.deploy.plan.dry_run import Rehearsal, Tried
from tasks.lib.deploy.plan.observe import observe
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

STORIES = 400
KEYS = ["a", "b", "A.b_c-9", ".hidden", "k" * 253]
BAD_KEYS = ["k" * 254, "..", ".", "..a", "a b", "é", "", "a/b"]
VALUES = [
    "",
    "plain",
    "two\nlines\t\r\n",
    "é 😀 \u2028\x85\x7f\x00",
    '"\\ud83d\\ude00"',
    "x" * 5000,
    "true",
    "0x1f",
    "~",
]
BAD_VALUES = [7, True, None, 1.5, ["a"], "half a \ud83d"]
ENCODED = ["", "YQ==", "AAEC/w==", "eHl6"]
BAD_ENCODED = ["YQ", "YR==", "Y Q==", "YQ==\n", "no base64", "_-8=", "é"]
LABELS = ["app", "example.org/part", "x" * 63, "A.b_c-9"]
BAD_LABELS = ["", "-a", "a-", "x" * 64, "UP.org/a", "a/b/c", "/a", "a/", "a b", "é"]
LABEL_VALUES = ["", "v", "A.b_c-9", "x" * 63]
BAD_LABEL_VALUES = ["-v", "v-", "x" * 64, "a b", "é", 7, None]
NOTES = ["", "any text: é 😀", "x" * 1000, '{"json": true}']
BAD_NOTES = [7, None, "x" * 256 * 1024]

ODD: list[dict[str, Any]] = [
    {"immutable": True},
    {"immutable": False},
    {"unknown": {}},
    {"data": None},
    {"type": "kubernetes.io/tls"},
    {"type": "Opaque"},
    {"stringData": {"a": "b"}},
    {"binaryData": {"a": "YQ=="}},
]
TAMPERINGS: list[dict[str, Any]] = [
    {"metadata": {"labels": {"app": "theirs"}}},
    {"metadata": {"labels": {"app": None}}},
    {"metadata": {"annotations": {"lookit-orchestrator/applied": None}}},
    {"metadata": {"annotations": {"theirs": "note"}}},
    {"metadata": {"finalizers": ["example.org/kept"]}},
    {"metadata": {"managedFields": [{}]}},
    {"data": {"a": "dGhlaXJz"}},
    {"data": {"a": None}},
    {"data": None},
    {"data": {"theirs": "dGhlaXJz"}},
    {"immutable": True},
]
MANAGERS = ["somebody", "lookit-orchestrator", "kubectl-client-side-apply"]


@dataclass
class Chance:
    """Random content, the same in every run; now and then something the server refuses or spells otherwise."""

    dice: random.Random
    bad: float

    def pick(self, good: list[Any], bad: list[Any]) -> Any:
        return self.dice.choice(bad if self.dice.random() < self.bad else good)

    def mapping(
        self, keys: tuple[list[str], list[str]], values: tuple[list[Any], list[Any]]
    ) -> dict[str, Any]:
        return {self.pick(*keys): self.pick(*values) for _ in range(self.dice.randrange(4))}

    def odd(self) -> dict[str, Any]:
        """Members that plain data has not."""
        return self.dice.choice(ODD) if self.dice.random() < 2 * self.bad else {}

    def body(self, kind: str, name: str) -> dict[str, Any]:
        labels = self.mapping((LABELS, BAD_LABELS), (LABEL_VALUES, BAD_LABEL_VALUES))
        notes = self.mapping((LABELS, BAD_LABELS), (NOTES, BAD_NOTES))
        plain, encoded = (VALUES, BAD_VALUES), (ENCODED, BAD_ENCODED)
        maps = {"data": self.mapping((KEYS, BAD_KEYS), encoded if kind == "Secret" else plain)}
        if kind == "ConfigMap" and self.dice.random() < 0.3:
            maps["binaryData"] = self.mapping((KEYS, BAD_KEYS), encoded)
        kept = {key: part for key, part in maps.items() if part or self.dice.random() < 0.5}
        metadata = {"name": name, "labels": labels, "annotations": notes}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **kept, **self.odd()}


@pytest.fixture
def connection(environment: Case) -> Iterator[Connection]:
    connection = connect(environment.settings, environment.environment)
    with closing(connection.api):
        yield connection


def set_up(connection: Connection, w: Wanted, chance: Chance) -> None:
    """Apply an object as a deploy does, if the server takes it; now and then somebody tampers with it."""
    path = connection.kinds["v1", w.ref.kind].path(w.ref.namespace, w.ref.name)
    (step,) = decide([w], {}, run_jobs=False)
    with suppress(ApiError):
        connection.api.apply(path, step.body, doing="set up")
        if chance.dice.random() < 0.3:
            connection.api.request(
                "PATCH", path, doing="tamper", body=chance.dice.choice(TAMPERINGS),
                query={"fieldManager": chance.dice.choice(MANAGERS)},
                content_type="application/merge-patch+json",
            )  # fmt: skip


def story(connection: Connection, namespace: str, number: int) -> Wanted:
    """Perhaps make an object; returns what is to become of it."""
    chance = Chance(random.Random(number), bad=0.02)
    kind, name = chance.dice.choice(["ConfigMap", "Secret"]), f"story-{number}"
    before = chance.body(kind, name)
    after = {**before, **chance.body(kind, name)} if chance.dice.random() < 0.9 else before
    first, then = wanted([before, after], connection.kinds, namespace)
    if chance.dice.random() < 0.8:
        set_up(connection, first, chance)
    return then


def steps_of(connection: Connection, namespace: str) -> list[Step]:
    """The steps that would write, for many objects."""
    with ThreadPoolExecutor(8) as pool:
        things = list(pool.map(lambda number: story(connection, namespace, number), range(STORIES)))
    live = observe(connection.api, connection.kinds, things)
    return [step for step in decide(things, live, run_jobs=False) if step.writes]


def essence(thing: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the server notes on it, and without empty maps."""
    notes = {"managedFields", "resourceVersion", "uid", "creationTimestamp"}
    metadata = {key: value for key, value in thing["metadata"].items() if key not in notes and value != {}}
    rest = {key: value for key, value in thing.items() if key != "metadata" and value != {}}
    return {**rest, "metadata": metadata}


def require_equal(step: Step, told: dict[str, Any], said: Tried) -> None:
    """Check what was foretold against the dry run."""
    assert (said.fault, said.conflicts, said.forced) == ("", (), ()), step.body
    assert said.result
    if step.live is None:
        told = {"type": "Opaque", **told} if step.ref.kind == "Secret" else told
    else:
        assert changes(step.live, told) == changes(step.live, said.result), step.body
        assert (essence(step.live) == essence(told)) == (said.step.action is Action.KEEP), step.body
    assert essence(said.result) == essence(told), step.body


def test_what_is_foretold_is_what_a_dry_run_says(environment: Case, connection: Connection) -> None:
    steps = steps_of(connection, environment.name)
    before = ["kubectl-client-side-apply"]
    tried = Rehearsal(connection.api, connection.kinds, before, [], environment.name).run(steps)

    told = [(step, foretold.result(step), said) for step, said in zip(steps, tried, strict=True)]
    for step, result, said in told:
        if result is not None:
            require_equal(step, result, said)

    actions = Counter(step.action for step, result, _ in told if result is not None)
    assert actions[Action.CHANGE] > STORIES / 4
    assert actions[Action.CREATE] > STORIES / 10
    assert sum(bool(said.fault or said.conflicts) for _, _, said in told) > STORIES / 10
