import json

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.cluster.permissions import Permission, needed, require
from tasks.lib.errors import Failure
from tests.lib.cluster.scripted import Answer, Scripted

JOBS = Kind("batch/v1", "Job", "jobs", namespaced=True)
CLASSES = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
WATCHED = [
    "create configmaps in namespace default",
    "delete configmaps in namespace default",
    "get configmaps in namespace default",
    "list configmaps in namespace default",
    "patch configmaps in namespace default",
    "list events in namespace default",
    "watch events in namespace default",
    "list persistentvolumeclaims in namespace default",
    "watch persistentvolumeclaims in namespace default",
    "delete pods in namespace default",
    "list pods in namespace default",
    "watch pods in namespace default",
    "get pods/log in namespace default",
    "list controllerrevisions.apps in namespace default",
    "list deployments.apps in namespace default",
    "watch deployments.apps in namespace default",
    "list replicasets.apps in namespace default",
    "watch replicasets.apps in namespace default",
    "list statefulsets.apps in namespace default",
    "watch statefulsets.apps in namespace default",
]


def test_a_deploy_needs_to_write_its_kinds_and_to_watch_workloads() -> None:
    assert [str(permission) for permission in needed([(JOBS, "default"), (CLASSES, "")], "default")] == [
        *(
            f"{verb} storageclasses.storage.k8s.io in the whole cluster"
            for verb in ("create", "delete", "get", "list", "patch")
        ),
        *WATCHED,
        *(
            f"{verb} jobs.batch in namespace default"
            for verb in ("create", "delete", "get", "list", "patch", "watch")
        ),
        *(
            f"{verb} leases.coordination.k8s.io in namespace default"
            for verb in ("create", "delete", "get", "patch", "update", "watch")
        ),
    ]


@pytest.mark.parametrize(
    ("permission", "attributes"),
    [
        (
            Permission("default", "", "pods/log", "get"),
            {"group": "", "resource": "pods", "subresource": "log", "verb": "get", "namespace": "default"},
        ),
        (
            Permission("", "storage.k8s.io", "storageclasses", "list"),
            {"group": "storage.k8s.io", "resource": "storageclasses", "verb": "list"},
        ),
    ],
)
def test_a_review_asks_for_exactly_one_permission(permission: Permission, attributes: dict[str, str]) -> None:
    assert permission.review()["spec"] == {"resourceAttributes": attributes}


def test_everything_that_is_missing_is_named_at_once(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps({"status": {"allowed": False}}).encode())]
    wanted = [
        Permission("default", "apps", "deployments", "patch"),
        Permission("", "", "namespaces", "create"),
    ]

    with pytest.raises(Failure) as caught:
        require(server.api(), wanted)

    assert caught.value.what == "The cluster does not grant 2 of the 2 permissions a deploy needs."
    assert caught.value.why == (
        "may not patch deployments.apps in namespace default\nmay not create namespaces in the whole cluster"
    )


def test_a_deploy_goes_on_where_all_is_granted(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps({"status": {"allowed": True}}).encode())]
    require(server.api(), [Permission("default", "apps", "deployments", "patch")])
    assert [asked.path for asked in server.asked] == [
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    ]
