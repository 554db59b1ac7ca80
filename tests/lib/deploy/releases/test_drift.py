from pathlib import Path
from typing import Any

import pytest

from tasks.lib.deploy.history import Release
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.field_managers import at, spelled
from tasks.lib.deploy.releases.drift import compare, compare_as_written, compare_keys, find, is_stranger
from tasks.lib.deploy.steps import Change
from tests.lib.cluster.scripted import scripted

Thing = dict[str, Any]
REF = Ref("apps/v1", "Deployment", "default", "web")


def deployment(*entries: Thing, **spec: Any) -> Thing:
    metadata = {"name": "web", "namespace": "default", "managedFields": list(entries)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def entry(manager: str, fields: Thing, **more: Any) -> Thing:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def container(name: str, **more: Any) -> Thing:
    return {"name": name, **more}


def test_a_changed_field_names_both_values_and_the_writer() -> None:
    live = deployment(entry("kubectl-edit", {"f:spec": {"f:replicas": {}}}), replicas=3)
    intended = deployment(replicas=1)
    found = compare(Wanted(REF, intended), live, intended)
    assert found is not None
    assert (found.state, found.by) == ("changed", ("kubectl-edit",))
    assert found.changes == (Change("spec.replicas", "1", "3"),)


def test_what_others_added_is_told_by_field() -> None:
    added: Thing = {"f:spec": {"f:containers": {'k:{"name":"aside"}': {".": {}, "f:image": {}}}}}
    body = deployment(containers=[container("uwsgi", image="a")])
    live = deployment(
        entry("kubectl-edit", added),
        containers=[container("uwsgi", image="a"), container("aside", image="b")],
    )
    found = compare(Wanted(REF, body), live, live)
    assert found is not None
    assert (found.state, found.changes) == ("extra", (Change("spec.containers[aside].image", None, "b"),))


def test_what_nobody_was_recorded_for_is_nobodys_addition() -> None:
    live = deployment(entry("before-first-apply", {"f:spec": {"f:paused": {}}}), paused=False)
    assert compare(Wanted(REF, deployment()), live, live) is None


def test_an_object_under_deletion_has_drifted() -> None:
    live = deployment(replicas=1)
    live["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"

    found = compare(Wanted(REF, deployment(replicas=1)), live, live)

    assert found is not None
    assert found.state == "changed"
    assert found.changes == (Change("metadata.deletionTimestamp", None, "2026-01-02T03:04:05Z"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"f:spec": {"f:replicas": {}}},
        {"f:metadata": {"f:annotations": {"f:note": {}}}},
        {"f:status": {"f:replicas": {}}},
        {"f:spec": {"f:paused": {}}},
    ],
    ids=["the release sets it", "an annotation", "status", "it is not there any more"],
)
def test_what_is_no_drift(fields: Thing) -> None:
    live = deployment(entry("kubectl-edit", fields), replicas=1)
    live["metadata"]["annotations"] = {"note": "x"}
    assert compare(Wanted(REF, deployment(replicas=1)), live, live) is None


@pytest.mark.parametrize(
    ("one", "stranger"),
    [
        (entry("kubectl-edit", {}), True),
        (entry("kubectl", {}, subresource="scale"), True),
        (entry("Mozilla", {}), True),
        (entry("lookit-orchestrator", {}), False),
        (entry("kube-controller-manager", {}), False),
        (entry("glbc", {}), False),
        (entry("kubectl", {}, subresource="status"), False),
    ],
    ids=lambda value: value["manager"] if isinstance(value, dict) else "",
)
def test_who_counts_as_another(one: Thing, stranger: bool) -> None:
    assert is_stranger(one) is stranger


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        (("f:spec", "f:replicas"), "spec.replicas", 2),
        (
            ("f:spec", "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name"),
            "spec.ports[80].name",
            "http",
        ),
        (("f:spec", "f:finalizers", 'v:"a"'), "spec.finalizers[a]", "a"),
        (("f:spec", "f:absent", "f:name"), "spec.absent.name", None),
        (("f:spec", "i:0"), "spec[0]", None),
    ],
)
def test_a_path_of_managed_fields_is_spelled_and_followed(
    path: tuple[str, ...], text: str, value: object
) -> None:
    thing = {"spec": {"replicas": 2, "ports": [{"containerPort": 80, "name": "http"}], "finalizers": ["a"]}}
    assert spelled(path) == text
    assert at(thing, path) == value


def test_objects_refused_by_the_dry_run_are_compared_directly() -> None:
    live = deployment(replicas=3, paused=True)
    found = compare_as_written(Wanted(REF, deployment(replicas=1)), live, "field is immutable")
    assert found
    assert (found.state, found.changes) == ("changed", (Change("spec.replicas", "1", "3"),))
    same = compare_as_written(Wanted(REF, deployment(replicas=3)), live, "field is immutable")
    assert same
    assert [str(change) for change in same.changes] == ["+ cannot be compared: field is immutable"]


def test_objects_of_an_unserved_kind_are_not_missing(tmp_path: Path) -> None:
    past = Release(1, {}, "")
    with scripted(tmp_path) as server:
        [found] = find(server.api(), {}, [Wanted(REF, deployment(replicas=1))], past)

    assert server.asked == []
    assert (found.state, [str(change) for change in found.changes]) == (
        "changed",
        ["~ apiVersion: apps/v1 → no longer served by the cluster"],
    )


SECRET = Ref("v1", "Secret", "default", "env")


def secret(*entries: Thing, **data: str) -> Thing:
    return {"kind": "Secret", "metadata": {"name": "env", "managedFields": list(entries)}, "data": data}


@pytest.mark.parametrize(
    ("live", "state", "told"),
    [
        (secret(A="x"), "changed", ["- data.B: [redacted]"]),
        (
            secret(entry("kubectl-edit", {"f:data": {"f:C": {}}}), A="x", B="x", C="x"),
            "extra",
            ["+ data.C: [redacted]"],
        ),
        (
            secret(entry("kubectl-edit", {"f:data": {"f:A": {}}}), A="x", B="x"),
            "changed",
            ["~ data.A: [redacted] → [redacted], another"],
        ),
    ],
    ids=["a key is gone", "a key more", "a value written by another"],
)
def test_a_secret_is_compared_by_its_keys(live: Thing, state: str, told: list[str]) -> None:
    found = compare_keys(SECRET, ["A", "B"], live)
    assert found is not None
    assert found.state == state
    assert [str(change) for change in found.changes] == told


def test_a_secret_with_its_keys_is_as_released() -> None:
    assert compare_keys(SECRET, ["A"], secret(A="x")) is None
    token = secret(entry("kube-controller-manager", {"f:data": {"f:token": {}}}), token="x")
    assert compare_keys(SECRET, [], token) is None
