"""Seals of releases: what a deploy wrote is told from what others changed."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.recovery import rollback
from tasks.lib.deploy.releases import seal, store
from tasks.lib.deploy.releases.seal import ALTERED, UNSEALED, Seal
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets.files import RELEASE_KEY
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
STAGING = SETTINGS.environment("staging")
KEY = b"k" * 64
OURS = Seal(("staging", "default"), (KEY,))
RELEASE = OURS.sealed(Release(3, {"result": "deployed", "commit": "c" * 40}, "H4sI"))


def test_what_a_deploy_kept_holds() -> None:
    assert OURS.doubt(RELEASE) == ""


@pytest.mark.parametrize(
    "changed",
    [
        replace(RELEASE, packed="H4sJ"),
        replace(RELEASE, number=4),
        replace(RELEASE, facts={**RELEASE.facts, "result": "failed"}),
        replace(RELEASE, facts={**RELEASE.facts, "back_to": "1"}),
        replace(RELEASE, facts={k: v for k, v in RELEASE.facts.items() if k != "commit"}),
        replace(RELEASE, facts={**RELEASE.facts, seal.FACT: "0" * 64}),
    ],
    ids=["objects", "number", "a fact", "a new fact", "a fact less", "the seal"],
)
def test_what_somebody_changed_does_not_hold(changed: Release) -> None:
    assert OURS.doubt(changed) == ALTERED


@pytest.mark.parametrize("place", [("production", "default"), ("staging", "other")])
def test_a_seal_holds_nowhere_else(place: tuple[str, str]) -> None:
    assert replace(OURS, place=place).doubt(RELEASE) == ALTERED


def test_a_release_without_a_seal_is_doubted() -> None:
    assert OURS.doubt(Release(1, {"result": "deployed"}, "H4sI")) == UNSEALED


def test_a_new_key_seals_and_the_old_one_still_holds() -> None:
    rotated = seal.of(SETTINGS, STAGING, {RELEASE_KEY: Secret(b"n" * 32 + b"\n" + KEY + b"\n")})

    assert rotated.doubt(RELEASE) == ""
    assert OURS.doubt(rotated.sealed(RELEASE)) == ALTERED
    assert rotated.doubt(rotated.sealed(RELEASE)) == ""


@pytest.mark.parametrize(
    ("plaintexts", "problem"),
    [
        ({}, "There is no kubernetes/overlays/staging/secrets/release.key.enc"),
        ({RELEASE_KEY: Secret(b"short")}, "fewer than 32 characters"),
        ({RELEASE_KEY: Secret(b"")}, "fewer than 32 characters"),
    ],
)
def test_without_a_key_nothing_is_sealed_and_nothing_holds(
    plaintexts: dict[str, Secret], problem: str
) -> None:
    without = seal.of(SETTINGS, STAGING, plaintexts)

    assert problem in without.doubt(RELEASE)
    assert without.sealed(Release(1, {}, "")) == Release(1, {}, "")


def test_an_environment_may_have_no_release_key() -> None:
    settings = checked_in_settings(environments={"staging": {"secrets": {"release_key": ""}}})

    without = seal.decrypted(settings, settings.environment("staging"))

    assert without.problem == "environments.staging.secrets.release_key is empty."


def test_an_untrusted_release_is_refused_with_a_next_step() -> None:
    with pytest.raises(Failure) as caught:
        seal.require(OURS, replace(RELEASE, packed=""), "staging")

    assert caught.value.why == ALTERED
    assert "--to 3 --accept-unsealed" in caught.value.next_step


def test_a_release_is_sealed_under_the_number_that_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Release] = []

    def put(_api: Any, _path: str, past: Release, _namespace: str) -> bool:
        tried.append(past)
        return len(tried) > 1  # somebody else was faster with the first number

    monkeypatch.setattr(store, "put", put)
    store.add(SimpleNamespace(), "default", {"result": "deployed"}, [], [], OURS.sealed)  # type: ignore[arg-type]

    assert [past.number for past in tried] == [1, 2]
    assert [OURS.doubt(past) for past in tried] == ["", ""]


def step(kind: str, namespace: str, live: dict[str, Any] | None) -> Step:
    return Step(Wanted(Ref("v1", kind, namespace, "x"), {}), Action.CREATE, "", {}, live)


@pytest.mark.parametrize(
    ("made", "refused"),
    [
        (step("ClusterRoleBinding", "", None), True),
        (step("RoleBinding", "kube-system", None), True),
        (step("RoleBinding", "default", None), False),
        (step("ClusterRoleBinding", "", {"metadata": {}}), False),
    ],
    ids=["cluster-wide", "of another namespace", "of its own", "there already"],
)
def test_an_untrusted_release_creates_nothing_outside_its_namespace(made: Step, refused: bool) -> None:
    planned = Planned((("access", (made,)),), {}, {})
    if not refused:
        rollback.refuse_foreign(planned, STAGING)
        return
    with pytest.raises(Failure) as caught:
        rollback.refuse_foreign(planned, STAGING)
    assert made.ref.kind in caught.value.why
