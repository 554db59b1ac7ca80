import json
from typing import Any

import pytest

from tasks.lib.cluster import admission
from tasks.lib.cluster.admission import Admission
from tasks.lib.cluster.kinds import Kind
from tests.lib.cluster.scripted import Answer, Scripted, status

CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps", namespaced=True)
JOBS = Kind("batch/v1", "Job", "jobs", namespaced=True)
GROUP = "admissionregistration.k8s.io/v1"
SERVED = {
    (GROUP, name): Kind(GROUP, name, f"{name.lower()}s", namespaced=False)
    for name in (*admission.WEBHOOKS, "ValidatingAdmissionPolicy")
}


def rule(group: str, resource: str) -> dict[str, Any]:
    return {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}


@pytest.mark.parametrize(
    ("found", "refuses"),
    [
        (rule("", "configmaps"), True),
        (rule("*", "configmaps"), True),
        (rule("", "*"), True),
        (rule("*", "*/*"), True),
        (rule("", "configmaps/*"), True),
        (rule("", "secrets"), False),
        (rule("apps", "*"), False),
        (rule("", "*/status"), False),
        (rule("", "configmaps/status"), False),
        ({}, False),
    ],
    ids=["by name", "in all groups", "all of the group", "everything", "with its parts", "another resource",
         "another group", "parts of all", "a part", "nothing"],
)  # fmt: skip
def test_a_rule_concerns_the_kinds_that_it_names(found: dict[str, Any], refuses: bool) -> None:
    assert Admission((rule("batch", "cronjobs"), found), frozenset()).may_refuse(CONFIG_MAPS) == refuses


@pytest.mark.parametrize(
    ("kind", "counted", "counts"),
    [
        (CONFIG_MAPS, {"configmaps"}, True),
        (CONFIG_MAPS, {"count/configmaps"}, True),
        (CONFIG_MAPS, {"requests.cpu", "count/secrets"}, False),
        (JOBS, {"count/jobs.batch"}, True),
        (JOBS, {"count/jobs"}, False),
    ],
)
def test_a_quota_counts_the_kinds_that_it_names(kind: Kind, counted: set[str], counts: bool) -> None:
    assert Admission((), frozenset(counted)).counts(kind) == counts


def test_rules_are_those_of_all_webhooks_and_policies() -> None:
    webhooks = {"webhooks": [{"rules": [rule("", "a")]}, {"rules": [rule("", "b"), rule("", "c")]}, {}]}
    policy = {"spec": {"matchConstraints": {"resourceRules": [rule("", "d")]}}}

    found = admission.rules([webhooks, policy, {"metadata": {"name": "without webhooks"}}])

    assert [one["resources"] for one in found] == [["a"], ["b"], ["c"], ["d"]]


def test_a_policy_that_names_no_resources_may_mean_all() -> None:
    found = Admission(tuple(admission.rules([{"spec": {}}])), frozenset())

    assert found.may_refuse(JOBS)


def listing(*items: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode())


def test_what_the_cluster_serves_is_read(server: Scripted) -> None:
    server.answers = [listing({"webhooks": [], "spec": {"hard": {"pods": "3"}}})]

    found = admission.read(server.api(), SERVED, "staging")

    assert found
    assert found.counted == {"pods"}
    assert sorted(asked.path.partition("?")[0] for asked in server.asked) == [
        "/api/v1/namespaces/staging/resourcequotas",
        f"/apis/{GROUP}/mutatingwebhookconfigurations",
        f"/apis/{GROUP}/validatingadmissionpolicys",
        f"/apis/{GROUP}/validatingwebhookconfigurations",
    ]


def test_what_may_not_be_read_is_not_known(server: Scripted) -> None:
    server.answers = [listing(), status(403, "Forbidden", "not yours"), listing()]

    assert admission.read(server.api(), SERVED, "staging") is None
