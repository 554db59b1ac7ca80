"""What a deploy waits for, and what it says of the rest."""

from typing import Any, cast

import pytest

from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.rollout.awaited import (
    NO_ADDRESS,
    SILENT,
    UNBOUND,
    UNREADY,
    Awaited,
    is_awaited,
    left_alone,
)
from tasks.lib.deploy.steps import Action, Step
from tests.builders import checked_in_settings


def thing(version: str, kind: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {}, "spec": spec, "status": status or {}}


INGRESS = thing("networking.k8s.io/v1", "Ingress")
CLAIM = thing("v1", "PersistentVolumeClaim", {"phase": "Pending"})
WIDGET = thing("example.org/v1", "Widget")
UNREADY_WIDGET = thing("example.org/v1", "Widget", {"conditions": [{"type": "Ready", "status": "False"}]})


def awaited(live: dict[str, Any], *, written: bool = True, binding: str = "", **deploy: Any) -> bool:
    settings = checked_in_settings(deploy=deploy).deploy
    return is_awaited(live, settings, "it", written=written, binding=lambda claim: binding)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("v1", "Pod"), ("apps/v1", "ReplicaSet"), ("apps/v1", "Deployment"), ("batch/v1", "Job"),
        ("batch/v1", "CronJob"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ],
)  # fmt: skip
def test_unchanged_workloads_are_waited_for(version: str, kind: str) -> None:
    assert awaited(thing(version, kind), written=False)


@pytest.mark.parametrize(
    ("live", "deploy"),
    [
        (thing("cert-manager.io/v1", "Certificate"), {}),
        (thing("cert-manager.io/v1", "ClusterIssuer"), {}),
        (UNREADY_WIDGET, {}),
        (WIDGET, {"ready_kinds": ["Widget"]}),
        (WIDGET, {"ready_kinds": ["Widget/it"]}),
        (INGRESS, {"addresses": True}),
        (thing("v1", "Service", type="LoadBalancer"), {"addresses": True}),
    ],
    ids=["a certificate", "an issuer", "shows a condition", "a kind", "one by name", "an Ingress", "a Service"],
)  # fmt: skip
def test_changed_objects_with_a_readiness_are_waited_for(
    live: dict[str, Any], deploy: dict[str, Any]
) -> None:
    assert awaited(live, **deploy)
    assert not awaited(live, written=False, **deploy)


@pytest.mark.parametrize(
    ("binding", "waits"), [("Immediate", True), ("WaitForFirstConsumer", False), ("", False)]
)
def test_a_claim_with_immediate_binding_is_waited_for(binding: str, waits: bool) -> None:
    assert awaited(CLAIM, binding=binding) == waits


@pytest.mark.parametrize(
    ("live", "written", "reason"),
    [
        (INGRESS, True, NO_ADDRESS),
        (INGRESS, False, ""),
        (thing("networking.k8s.io/v1", "Ingress", {"loadBalancer": {"ingress": [{"ip": "::1"}]}}), True, ""),
        (thing("v1", "Service", type="LoadBalancer"), True, NO_ADDRESS),
        (thing("v1", "Service", type="ClusterIP"), True, ""),
        (CLAIM, True, UNBOUND),
        (thing("v1", "PersistentVolumeClaim", {"phase": "Bound"}), True, ""),
        (WIDGET, True, SILENT),
        (WIDGET, False, ""),
        (UNREADY_WIDGET, False, UNREADY),
        (thing("v1", "ConfigMap"), True, ""),
        (thing("rbac.authorization.k8s.io/v1", "Role"), True, ""),
    ],
)
def test_unready_objects_that_are_not_waited_for_are_told(
    live: dict[str, Any], written: bool, reason: str
) -> None:
    assert left_alone(live, written=written) == reason


def test_what_is_not_waited_for_is_listed_by_reason() -> None:
    settings = checked_in_settings().deploy
    awaited = Awaited(cast("Connection", None), settings, "staging-")

    for name in ("web", "media"):
        step = Step(
            Wanted(Ref("networking.k8s.io/v1", "Ingress", "default", name), {}), Action.CREATE, "", {}
        )
        assert not awaited.includes(step, INGRESS)

    assert awaited.left_in_words() == [
        "Not waited for: Ingress web, Ingress media (deploy.addresses in invoke.yaml says whether to wait for addresses)."
    ]


def test_a_skipped_job_is_not_waited_for() -> None:
    awaited = Awaited(cast("Connection", None), checked_in_settings().deploy, "")
    job = thing("batch/v1", "Job")
    step = Step(Wanted(Ref("batch/v1", "Job", "default", "it"), {}), Action.SKIP, "", {}, job)

    assert not awaited.includes(step, None)
    assert awaited.left_in_words() == []
