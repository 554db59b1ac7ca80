"""Whatever a manifest says, as long as it parses, a deploy ends in a sentence and not in a traceback.

Objects of the rendered tree are changed at random and go through all of a deploy that needs no cluster.
LOOKIT_MUTATIONS says how often; LOOKIT_MUTATIONS_SEED with what.
"""

import copy
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tasks.lib.cluster import rbac
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy import history
from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import Wanted, annotated, scopes_to_come, wanted
from tasks.lib.deploy.output import plans
from tasks.lib.deploy.plan import autoscaling, document, prune, readers, references
from tasks.lib.deploy.plan.decide import decide
from tasks.lib.deploy.plan.field_managers import labelled
from tasks.lib.deploy.plan.plan import Planned, arrange, batches
from tasks.lib.deploy.releases import review
from tasks.lib.deploy.rollout.awaited import is_awaited, left_alone, may_be_awaited, paused_or_suspended
from tasks.lib.deploy.rollout.readiness import readiness, tally
from tasks.lib.deploy.steps import Step
from tasks.lib.errors import Failure
from tasks.lib.image.digest import pin_with
from tasks.lib.redaction import Redactor
from tasks.lib.render.documents import Document, redacted
from tasks.lib.render.output import file_names
from tasks.lib.render.validation import validate
from tasks.lib.secrets import sensitive
from tests.builders import checked_in_settings
from tests.kubernetes.rendering import build_release

RUNS = int(os.environ.get("LOOKIT_MUTATIONS", "40"))
SEED = int(os.environ.get("LOOKIT_MUTATIONS_SEED", "1"))
DIGEST = "sha256:" + "1" * 64
SETTINGS = checked_in_settings()
Object = dict[str, Any]
VALUES: tuple[Any, ...] = (
    None, "", "text", "a\nb", 0, -1, 1.5, 10**30, True, [], {}, [None], ["text"], [[]], [{}], {"": None},
    {"name": None}, {"name": ["x"]}, {"a": {"b": "c"}}, [{"name": 7}], "\ud83d",
)  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in an object."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def replace(holder: Any, key: Any, chance: random.Random) -> None:
    holder[key] = copy.deepcopy(chance.choice(VALUES))


def drop(holder: Any, key: Any, _: random.Random) -> None:
    del holder[key]


def wrap(holder: Any, key: Any, chance: random.Random) -> None:
    value = holder[key]
    holder[key] = chance.choice(([value], {"name": value}, str(value)))


def double(holder: Any, key: Any, _: random.Random) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))


def rename(holder: Any, key: Any, _: random.Random) -> None:
    if isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)


def insert(holder: Any, key: Any, chance: random.Random) -> None:
    if isinstance(holder[key], dict):
        holder[key][chance.choice(("unknown", "name", "optional", "spec"))] = copy.deepcopy(
            chance.choice(VALUES)
        )


WAYS = (replace, replace, replace, drop, wrap, double, rename, insert)


def mutate(thing: Object, chance: random.Random) -> Object:
    """A copy of an object with one to three things changed."""
    changed = copy.deepcopy(thing)
    for _ in range(chance.randint(1, 3)):
        *way, last = chance.choice([*places(changed)])
        holder: Any = changed
        for key in way:
            holder = holder[key]
        chance.choice(WAYS)(holder, last, chance)
    return changed or {"kind": None}


def without_a_cluster(objects: Sequence[Object], before: Sequence[Wanted], kinds: Any) -> None:
    """All that a deploy does with rendered objects and needs no server for.

    Raises:
        Failure: as a deploy would.

    """
    documents = [Document("", one) for one in objects]
    known = sensitive.public(SETTINGS).naming(document.title for document in documents)
    redactor = Redactor(
        sensitive.in_objects([one for one in objects if one.get("kind") == "Secret"], known), known
    )
    validate(documents[:1], SETTINGS.kustomize.kubernetes)  # the others are as they were
    file_names([redacted(document) for document in documents])
    pin_with(SETTINGS.image.repository, objects, lambda image: DIGEST)
    found = [labelled(w, "default") for w in wanted(objects, kinds, "default")]
    scopes_to_come(w.body for w in found)
    rbac.granted_by(w.body for w in found)
    live = {w.ref: annotated(w.body, {"a": "b"}) for w in before}
    for there in ({}, live):
        steps = decide(found, there, run_jobs=False)
        for step in steps:
            judge(step)
        told(found, steps, redactor)


def judge(step: Step) -> None:
    body, bare = step.body, step.ref.name
    paused_or_suspended(step, body)
    autoscaling.loses_replicas(step)
    readiness(body), tally(body), left_alone(body, written=True), may_be_awaited(step.ref, SETTINGS.deploy)
    is_awaited(body, SETTINGS.deploy, bare, written=True, binding=lambda claim: "")


def told(found: Sequence[Wanted], steps: Sequence[Step], redactor: Redactor) -> None:
    for _, steps_of_it in arrange(steps, SETTINGS.deploy.phases, "staging-"):
        batches(steps_of_it)
    there = {w.ref: w.body for w in found}
    needs = [need for w in found for need in references.needs_of(w.ref, w.body)]
    references.missing(needs, there)
    _ = [made for w in found for made in references.made_later(w.ref, w.body)]
    autoscaling.scaled_by(there.values())
    prune.names_read(there.values())
    history.images(found), history.secret_keys(found)
    past = [Release(number, {"result": "deployed"}, history.pack(found)) for number in (1, 2)]
    review.differences(*past)
    planned = Planned((("phase", tuple(steps)),), {}, {})
    readers.marked(found), readers.not_restarted(planned.steps, planned.results)
    plan = document.blanked(document.of("staging", planned), redactor)
    document.as_json(plan), plans.as_lines(plan), plans.as_html(plan)


@pytest.fixture(scope="module")
def rendered() -> list[Object]:
    tree = build_release("staging", "b" * 40, "v2.0")
    return list(tree.objects.values())


@pytest.mark.parametrize("version", ["", "example.org/v1"], ids=["kinds with a schema", "custom kinds"])
def test_a_changed_manifest_ends_in_a_sentence(rendered: list[Object], version: str) -> None:
    chance = random.Random(SEED)
    kinds = {
        (one["apiVersion"], one["kind"]): Kind(one["apiVersion"], one["kind"], "things", namespaced=True)
        for one in rendered
    }
    before = wanted(rendered, kinds, "default")
    refused = 0
    for number in range(RUNS):
        changed = mutate(chance.choice(rendered), chance)
        if version and "apiVersion" in changed:
            changed["apiVersion"] = version
        try:
            without_a_cluster([changed, *copy.deepcopy(chance.sample(rendered, 2))], before, kinds)
        except Failure:
            refused += 1
        except Exception as error:
            raise AssertionError(f"run {number} of seed {SEED}: {changed}") from error
    assert 0 < refused < RUNS
