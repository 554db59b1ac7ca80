from typing import Any

import pytest

from tasks.lib.deploy.history import Release, pack
from tasks.lib.deploy.objects import Ref, Wanted
from tasks.lib.deploy.plan.field_managers import LABEL, labelled
from tasks.lib.deploy.plan.prune import Situation, decide, inventory, left, names_read

OWNER = "default"
OURS = {"manager": "lookit-orchestrator", "operation": "Apply"}
EDITED = {"manager": "kubectl-edit", "operation": "Update"}
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


def ref(kind: str, name: str = "old", version: str = "") -> Ref:
    return Ref(version or {"Job": "batch/v1"}.get(kind, "v1"), kind, "default", name)


def live(kind: str, name: str = "old", owner: str = OWNER, **more: Any) -> dict[str, Any]:
    status = more.pop("status", {})
    metadata = {"name": name, "uid": f"uid-{kind}-{name}", "managedFields": [OURS], "labels": {LABEL: owner}}
    return {"kind": kind, "metadata": {**metadata, **more}, "status": status}


def pod_spec(*config_maps: str, secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    maps = [{"configMapRef": {"name": name}} for name in config_maps]
    return {
        "containers": [{"name": "main", "envFrom": [*maps, *({"secretRef": {"name": s}} for s in secrets)]}]
    }


def reader(kind: str, uid: str, spec: dict[str, Any], *owners: str) -> dict[str, Any]:
    references = [{"uid": owner} for owner in owners]
    body = spec if kind == "Pod" else {"template": {"spec": spec}}
    return {"kind": kind, "metadata": {"uid": uid, "ownerReferences": references}, "spec": body}


def removed(
    candidates: dict[Ref, dict[str, Any]],
    deployed: tuple[Ref, ...] = (),
    readers: tuple[dict[str, Any], ...] = (),
    past: tuple[Release, ...] = (),
) -> list[str]:
    steps = decide(Situation(OWNER, deployed, candidates, readers, past, ["glbc"]))
    return [str(step.ref) for step in steps]


def test_an_edited_release_blocks_no_deploy() -> None:
    damaged = Release(2, {"result": "deployed"}, "aGVsbG8=")
    assert inventory([damaged], [], OWNER) == []
    assert removed({ref("Service"): live("Service")}, past=(damaged,)) == ["Service old"]


@pytest.mark.parametrize(
    ("kind", "thing", "goes"),
    [
        ("Service", live("Service"), True),
        ("Service", live("Service", managedFields=[OURS, {"manager": "glbc", "operation": "Update"}]), True),
        ("Service", live("Service", managedFields=[OURS, EDITED]), False),
        ("Service", live("Service", managedFields=[EDITED]), False),
        ("Service", live("Service", ownerReferences=[{"uid": "1"}]), False),
        ("Service", live("Service", deletionTimestamp="now"), False),
        ("StorageClass", live("StorageClass", owner="elsewhere"), False),
        ("Service", live("Service", labels={}), True),
        ("Job", live("Job", status=COMPLETE), True),
        ("Job", live("Job"), False),
        ("PersistentVolumeClaim", live("PersistentVolumeClaim"), False),
        ("Namespace", live("Namespace"), False),
        ("CustomResourceDefinition", live("CustomResourceDefinition"), False),
        ("Secret", live("Secret"), True),
    ],
    ids=[
        "ours", "completed by a controller", "edited by hand", "foreign", "made by a controller",
        "on its way already", "of another environment", "from before labels", "job that ended", "job that runs",
        "claim", "namespace", "definition", "secret",
    ],
)  # fmt: skip
def test_only_our_own_objects_without_data_are_pruned(kind: str, thing: dict[str, Any], goes: bool) -> None:
    assert bool(removed({ref(kind): thing})) is goes


@pytest.mark.parametrize(
    ("kind", "thing", "reason"),
    [
        ("Service", live("Service", managedFields=[OURS, EDITED]), "kept: kubectl-edit also manages it"),
        ("Service", live("Service", managedFields=[EDITED]), "kept: it was not created by this tool"),
        ("Job", live("Job"), "kept: it is still running"),
        (
            "PersistentVolumeClaim",
            live("PersistentVolumeClaim"),
            "kept: objects of this kind are never removed",
        ),
        ("Service", live("Service"), ""),
        ("Service", live("Service", deletionTimestamp="now"), ""),
        ("StorageClass", live("StorageClass", owner="elsewhere"), ""),
    ],
    ids=[
        "edited by hand",
        "foreign",
        "job that runs",
        "claim",
        "removed",
        "on its way",
        "of another environment",
    ],
)
def test_kept_objects_have_a_reason(kind: str, thing: dict[str, Any], reason: str) -> None:
    told = left(Situation(OWNER, (), {ref(kind): thing}, (), (), ["glbc"]))
    assert [(step.action, step.reason) for step in told] == ([("leave", reason)] if reason else [])


def test_configuration_that_is_still_read_is_not_told() -> None:
    pod = reader("Pod", "uid-pod", pod_spec("old"))
    assert left(Situation(OWNER, (), {ref("ConfigMap"): live("ConfigMap")}, (pod,), (), ())) == ()


def test_another_api_version_of_a_deployed_object_is_not_pruned() -> None:
    candidates = {ref("Ingress", version="extensions/v1beta1"): live("Ingress")}
    assert removed(candidates, deployed=(ref("Ingress", version="networking.k8s.io/v1"),)) == []


@pytest.mark.parametrize(
    "one",
    [
        reader("Pod", "pod", pod_spec("old")),
        reader("ReplicaSet", "rs", pod_spec("old")),
        reader("Job", "job", pod_spec("old")),
        {"kind": "ControllerRevision", "metadata": {"uid": "cr"}, "data": {"spec": {"template": {"spec": pod_spec("old")}}}},
    ],
    ids=["pod", "replica set", "job", "revision"],
)  # fmt: skip
def test_configuration_that_something_living_reads_stays(one: dict[str, Any]) -> None:
    candidates = {ref("ConfigMap"): live("ConfigMap"), ref("ConfigMap", "free"): live("ConfigMap", "free")}
    assert removed(candidates, readers=(one,)) == ["ConfigMap free"]


def test_configuration_goes_with_the_workload_that_alone_read_it() -> None:
    candidates = {ref("ConfigMap"): live("ConfigMap"), ref("Deployment", "web"): live("Deployment", "web")}
    going = "uid-Deployment-web"
    readers = (
        reader("Pod", "pod", pod_spec("old"), "rs"),
        reader("ReplicaSet", "rs", pod_spec("old"), going),
        reader("Deployment", going, pod_spec("old")),
    )
    assert removed(candidates, readers=readers) == ["ConfigMap old", "Deployment web"]
    assert removed(candidates, readers=(*readers, reader("Pod", "2", pod_spec("old")))) == ["Deployment web"]


def past(number: int, *bodies: Wanted, result: str = "deployed") -> Release:
    return Release(number, {"result": result}, pack(bodies))


def deployment(name: str, *config_maps: str, secrets: tuple[str, ...] = ()) -> Wanted:
    spec = {"template": {"spec": pod_spec(*config_maps, secrets=secrets)}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": OWNER}}
    return Wanted(ref("Deployment", name, "apps/v1"), {**body, "spec": spec})


def test_configuration_of_the_last_five_good_releases_stays() -> None:
    names = [f"conf-{number}" for number in range(8)]
    candidates = {ref("ConfigMap", name): live("ConfigMap", name) for name in names}
    releases = [past(9, deployment("web", "conf-0"), result="failed")]
    releases += [past(9 - n, deployment("web", f"conf-{n}")) for n in range(1, 8)]
    assert removed(candidates, past=tuple(releases)) == [
        "ConfigMap conf-0",
        "ConfigMap conf-6",
        "ConfigMap conf-7",
    ]


def test_inventories_name_what_labels_do_not_lead_to() -> None:
    before = deployment("before", secrets=("env-1",))
    after = labelled(deployment("after", secrets=("env-2",)), OWNER)
    releases = [past(2, after), past(1, before)]
    web = Ref("apps/v1", "Deployment", OWNER, "before")
    secret = Ref("v1", "Secret", OWNER, "env-1")
    assert inventory(releases, {"Deployment"}, OWNER) == [web, secret]
    assert inventory(releases, {"Service"}, OWNER) == [after.ref, web, secret]


def test_secrets_for_pulling_images_and_for_certificates_count_as_read() -> None:
    pod = {"spec": {**pod_spec(), "imagePullSecrets": [{"name": "pull"}]}}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "spec": {"tls": [{"secretName": "tls"}]},
    }
    cron = {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod_spec("cron")}}}}}
    assert names_read([pod, ingress, cron]) == {("Secret", "pull"), ("Secret", "tls"), ("ConfigMap", "cron")}


def test_what_pods_get_by_their_account_is_read_by_it() -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "imagePullSecrets": [{"name": "pull"}],
        "secrets": [{"name": "token"}],
    }
    candidates = {ref("Secret", name): live("Secret", name) for name in ("pull", "token", "other")}
    packed = pack([Wanted(ref("ServiceAccount", "web"), account)])

    assert names_read([account]) == {("Secret", "pull"), ("Secret", "token")}
    assert removed(candidates, past=(Release(1, {"result": "deployed"}, packed),)) == ["Secret other"]


def test_the_label_leaves_selectors_and_templates_alone() -> None:
    web = deployment("web")
    body = labelled(web, OWNER).body
    assert body["metadata"]["labels"] == {LABEL: OWNER}
    assert body["spec"] == web.body["spec"]
    assert "labels" not in web.body["metadata"]
