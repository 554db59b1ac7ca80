import json

import pytest

from tasks.lib.cluster.kinds import Kind
from tasks.lib.cluster.rbac import Permission, grants, needed, require
from tasks.lib.errors import Failure
from tests.lib.cluster.scripted import Answer, Scripted, status

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
    "list cronjobs.batch in namespace default",
]


def test_a_deploy_needs_to_write_its_kinds_and_watch_workloads() -> None:
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
        "missing: patch deployments.apps in namespace default\nmissing: create namespaces in the whole cluster"
    )


def test_a_deploy_with_all_permissions_continues(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps({"status": {"allowed": True}}).encode())]
    require(server.api(), [Permission("default", "apps", "deployments", "patch")])
    assert [asked.path for asked in server.asked] == [
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    ]


def rule(**changes: list[str]) -> dict[str, list[str]]:
    return {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], **changes}


@pytest.mark.parametrize(
    ("found", "permission", "granted"),
    [
        (rule(), Permission("x", "", "pods", "get"), True),
        (rule(verbs=["*"], apiGroups=["*"], resources=["*"]), Permission("x", "apps", "deployments", "list"), True),
        (rule(resources=["*"]), Permission("x", "", "pods/log", "get"), True),
        (rule(resources=["pods/log"]), Permission("x", "", "pods/log", "get"), True),
        (rule(resources=["*/log"]), Permission("x", "", "pods/log", "get"), True),
        (rule(), Permission("x", "", "pods", "list"), False),
        (rule(), Permission("x", "apps", "pods", "get"), False),
        (rule(), Permission("x", "", "pods/log", "get"), False),
        (rule(resources=["pods/log"]), Permission("x", "", "pods", "get"), False),
        (rule(resources=["*/log"]), Permission("x", "", "pods", "get"), False),
        (rule(resourceNames=["one"]), Permission("x", "", "pods", "get"), False),
        ({"verbs": ["*"]}, Permission("x", "", "pods", "get"), False),
    ],
    ids=["by name", "by stars", "a part of all", "a part", "that part of all", "another verb", "another group",
         "a part of what is granted", "a part only", "a part of all only", "one object only", "nothing"],
)  # fmt: skip
def test_a_rule_grants_what_it_names(
    found: dict[str, list[str]], permission: Permission, granted: bool
) -> None:
    assert grants(found, permission) == granted


def reviewed(*rules: dict[str, list[str]]) -> Answer:
    return Answer(body=json.dumps({"status": {"resourceRules": rules, "incomplete": True}}).encode())


def test_only_permissions_outside_the_rules_are_checked_one_by_one(server: Scripted) -> None:
    denied = Answer(body=json.dumps({"status": {"allowed": False}}).encode())
    server.answers = [reviewed(rule(verbs=["get", "list", "watch", "patch", "create", "update"])), denied]
    verbs = ("create", "delete", "get", "list", "patch", "update", "watch")

    with pytest.raises(Failure) as caught:
        require(server.api(), [Permission("default", "", "pods", verb) for verb in verbs])

    assert caught.value.why == "missing: delete pods in namespace default"
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == [
        "selfsubjectrulesreviews",
        "selfsubjectaccessreviews",
        "selfsubjectreviews",
    ]
    assert json.loads(server.asked[0].body)["spec"] == {"namespace": "default"}


def test_cluster_wide_permissions_are_checked_one_by_one(server: Scripted) -> None:
    server.answers = [Answer(body=json.dumps({"status": {"allowed": True}}).encode())]

    require(server.api(), [Permission("", "", "namespaces", verb) for verb in "abcdefgh"])

    assert len(server.asked) == 8


def test_without_rules_permissions_are_checked_one_by_one(server: Scripted) -> None:
    granted = Answer(body=json.dumps({"status": {"allowed": True}}).encode())
    server.answers = [status(403, "Forbidden", "not yours"), granted]

    require(server.api(), [Permission("default", "", "pods", verb) for verb in "abcdefgh"])

    assert len(server.asked) == 9


@pytest.mark.parametrize(
    ("user", "step"),
    [
        ("deployer@p.iam.gserviceaccount.com", "Ask a cluster administrator"),
        ("104312345678901234567", "The token lacks the scope userinfo.email"),
    ],
)
def test_the_account_name_is_shown(server: Scripted, user: str, step: str) -> None:
    denied = Answer(body=json.dumps({"status": {"allowed": False}}).encode())
    server.answers = [denied, Answer(body=json.dumps({"status": {"userInfo": {"username": user}}}).encode())]

    with pytest.raises(Failure) as caught:
        require(server.api(), [Permission("default", "apps", "deployments", "patch")])

    assert caught.value.why.splitlines() == [
        f"The cluster sees this account as {user}.",
        "missing: patch deployments.apps in namespace default",
    ]
    assert caught.value.next_step.startswith(step)
