"""Much plain data at once: what goes in without a dry run, and all that still comes up before anything changes."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.lib.cluster import lane
from tasks.lib.cluster.connection import Connection, connect
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.role import manifest
from tasks.lib.deploy.apply.in_phases import PhasedApply
from tasks.lib.deploy.events import Record
from tasks.lib.deploy.objects import Wanted, wanted
from tasks.lib.deploy.plan import document, plan
from tasks.lib.deploy.plan.dry_run import MANY
from tasks.lib.errors import Failure
from tests.builders import ROOT
from tests.deployed import may
from tests.fault_proxy import FaultProxy, in_front_of, until
from tests.sandbox_case import Case, Sandbox, corner

# Admission policies are the whole cluster's, so it is not the one that others share.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480), pytest.mark.xdist_group("own_sandbox")]

Objects = list[dict[str, Any]]
WRITE = "PATCH .*/(configmaps|secrets)/(conf|secret)-"


@pytest.fixture
def case(own_sandbox: Sandbox, tmp_path: Path) -> Iterator[Case]:
    with corner(own_sandbox, tmp_path) as made:
        yield made


@pytest.fixture
def proxy(own_sandbox: Sandbox) -> Iterator[FaultProxy]:
    port = own_sandbox.port("lookit-staging.apiserver")
    with in_front_of(port, own_sandbox.state.cluster("lookit-staging")) as running_proxy:
        yield running_proxy


def thing(case: Case, kind: str, name: str, **members: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": case.name, **members.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **members}


def much(case: Case, turn: str, count: int = MANY + 10) -> Objects:
    """ConfigMaps and Secrets, in equal parts, that say the turn."""
    maps = [thing(case, "ConfigMap", f"conf-{n}", data={"turn": turn}) for n in range(count // 2)]
    return maps + [thing(case, "Secret", f"secret-{n}", data={"turn": turn}) for n in range(count // 2)]


def named(connection: Connection, case: Case, objects: Objects) -> list[Wanted]:
    return wanted(objects, connection.kinds, case.name)


@contextmanager
def connected(case: Case) -> Iterator[Connection]:
    connection = connect(case.settings, case.environment)
    with closing(connection.api):
        yield connection


def planned_over(
    connection: Connection, case: Case, objects: Objects, choices: plan.Choices | None = None
) -> plan.Planned:
    due = named(connection, case, objects)
    return plan.make(case.settings, case.environment, connection, due, choices or plan.Choices())


def planned(case: Case, objects: Objects, choices: plan.Choices | None = None) -> plan.Planned:
    with connected(case) as connection:
        return planned_over(connection, case, objects, choices)


def course(connection: Connection, case: Case, record: Record) -> PhasedApply:
    return PhasedApply(case.settings, case.environment, connection, record, lambda event: None)


def deploy(case: Case, objects: Objects, choices: plan.Choices | None = None) -> Record:
    """What a deploy does with objects that are rendered."""
    with connected(case) as connection:
        record = Record("staging")
        course(connection, case, record).run(planned_over(connection, case, objects, choices))
        return record


def written(proxy: FaultProxy) -> tuple[int, int]:
    """How many dry runs of ConfigMaps and Secrets there were, and how many of them were written."""
    sent = [request for request in proxy.requests if re.match("PATCH .*/(configmaps|secrets)/", request)]
    tried = [request for request in sent if "dryRun=All" in request]
    return len(tried), len(sent) - len(tried)


def state(case: Case) -> dict[str, str]:
    """The resource version of everything that these tests deploy."""
    listed = json.loads(case.kubectl("get", "configmaps,secrets", "-o", "json"))["items"]
    versions = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in listed}
    return {name: version for name, version in versions.items() if name.startswith(("conf-", "secret-"))}


def test_much_plain_data_is_made_and_changed_without_a_dry_run(case: Case, proxy: FaultProxy) -> None:
    with case.behind(proxy) as behind:
        deploy(behind, much(case, "MQ=="))
        deploy(behind, much(case, "Mg=="))

    assert written(proxy) == (0, 2 * (MANY + 10))
    assert json.loads(case.kubectl("get", "configmap", "conf-0", "-o", "json"))["data"] == {"turn": "Mg=="}
    assert json.loads(case.kubectl("get", "secret", "secret-0", "-o", "json"))["data"] == {"turn": "Mg=="}


def test_a_little_is_tried_by_the_cluster(case: Case, proxy: FaultProxy) -> None:
    with case.behind(proxy) as behind:
        deploy(behind, much(case, "MQ==", MANY - 2))

    assert written(proxy) == (MANY - 2, MANY - 2)


def test_what_is_not_plain_is_tried_among_much_that_is(case: Case, proxy: FaultProxy) -> None:
    typed = {"username": "YQ==", "password": "YQ=="}
    others = [
        thing(case, "ConfigMap", "fixed", data={"a": "b"}, immutable=True),
        thing(case, "Secret", "typed", data=typed, type="kubernetes.io/basic-auth"),
    ]
    with case.behind(proxy) as behind:
        deploy(behind, [*much(case, "MQ=="), *others])

    assert written(proxy) == (len(others), MANY + 10 + len(others))


def test_a_plan_is_the_same_with_every_change_tried_and_with_much_foretold(case: Case) -> None:
    deploy(case, much(case, "MQ==", 2 * MANY))
    changed = much(case, "MQ==", 2 * MANY)
    for number, one in enumerate(changed):
        one["metadata"]["labels"] = {"turn": str(number)} if number % 2 else {}
        one["data"] = {} if number % 3 == 0 else {**one["data"], "more": "YQ=="}
    due = [*changed[5:], *(thing(case, "ConfigMap", f"new-{n}", data={"a": "é 😀"}) for n in range(5))]

    exhaustive = document.of("staging", planned(case, due, plan.Choices(exhaustive=True)))

    assert document.of("staging", planned(case, due)) == exhaustive
    assert [len(entry.changes) for entry in exhaustive.due].count(0) == 5, "those that are new"


def test_a_field_that_somebody_else_set_is_named_with_its_manager(case: Case) -> None:
    deploy(case, much(case, "MQ=="))
    theirs = '{"data": {"turn": "theirs"}}'
    case.kubectl("patch", "configmap", "conf-7", "--field-manager=somebody", "--type=merge", "-p", theirs)
    before = state(case)

    with pytest.raises(Failure) as caught:
        deploy(case, much(case, "Mg=="))

    assert "ConfigMap conf-7: .data.turn is managed by somebody" in caught.value.why
    assert "--force-conflicts ConfigMap/conf-7:.data.turn" in caught.value.next_step
    assert state(case) == before


def test_what_a_policy_forbids_comes_up_before_anything_changes(case: Case) -> None:
    deploy(case, much(case, "MQ=="))
    before = state(case)
    with policy(case, "!has(object.data) || object.data.turn != 'bad'"):
        objects = much(case, "Mg==")
        objects[7]["data"] = {"turn": "bad"}

        with pytest.raises(Failure) as caught:
            deploy(case, objects)

    assert "ConfigMap conf-7" in caught.value.why
    assert "ValidatingAdmissionPolicy" in caught.value.why
    assert "refuse 1 of the changes" in caught.value.what
    assert state(case) == before


@contextmanager
def policy(case: Case, expression: str) -> Iterator[None]:
    """A policy for ConfigMaps in this test's namespace, in force while inside."""
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": case.name}}
    binding = {
        "policyName": case.name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}
    }  # fmt: skip
    probe = thing(case, "ConfigMap", "probe", data={"turn": "bad"})
    made = [registered(case, "ValidatingAdmissionPolicy", spec)]
    made.append(registered(case, "ValidatingAdmissionPolicyBinding", binding))
    try:
        until(lambda: "denied request" in answer_to(case, probe), "the policy is in force")
        yield
    finally:
        for kind in made:
            case.kubectl("delete", kind, case.name)


def registered(case: Case, kind: str, spec: Mapping[str, Any]) -> str:
    file = case.folder / f"{kind}.yaml"
    metadata = {"name": case.name}
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": metadata,
                "spec": spec,
            }
        )
    )
    case.kubectl("create", "-f", str(file))
    return kind.lower()


def answer_to(case: Case, probe: Mapping[str, Any]) -> str:
    """What the cluster says to a dry run of making an object."""
    url = f"{case.api.url}{case.path}/configmaps?dryRun=All"
    return str(case.api.session.post(url, json=probe, timeout=30).text)


FAULTS: Objects = [
    {"pattern": WRITE, "times": 20, "status": 429, "retry_after": 1},  # overloaded
    {"pattern": WRITE, "times": 20, "status": 503},
    {"pattern": WRITE, "times": 20, "drop": True, "applied": True},  # the answer is lost after it took effect
    {"pattern": WRITE, "times": 20, "drop": True},
]


@pytest.mark.parametrize("exhaustive", [False, True], ids=["foretold", "tried"])
def test_faults_that_pass_do_not_end_it(case: Case, proxy: FaultProxy, exhaustive: bool) -> None:
    with case.behind(proxy) as behind:
        added = [proxy.add(**fault) for fault in FAULTS]
        record = deploy(behind, much(case, "MQ=="), plan.Choices(exhaustive=exhaustive))

    assert [fault.hits for fault in added] == [20] * len(FAULTS)
    assert {row.result for row in record.rows.values()} == {"applied"}
    assert len(record.rows) == MANY + 10
    assert not [step for step in planned(case, much(case, "MQ==")).steps if step.writes]


def test_what_is_refused_keeps_what_has_not_begun_from_beginning(case: Case, proxy: FaultProxy) -> None:
    with case.behind(proxy) as behind, connected(behind) as connection:
        proxy.add(pattern=r"PATCH .*/configmaps/conf-9\?(?!.*dryRun)", times=100, status=422)
        # Those that are sent beside it are answered later, however busy the machine is.
        proxy.add(pattern=f"{WRITE}(?!.*dryRun)", times=1000, latency=1.5)
        record = Record("staging")
        with pytest.raises(Failure, match="The cluster refused to apply ConfigMap conf-9"):
            course(connection, behind, record).run(planned_over(connection, behind, much(case, "MQ==")))

    results = [record.rows[ref].result for ref in record.rows]
    assert results.count("failed: refused") == 1
    assert results.count("not reached") >= MANY - lane.CONNECTIONS - CONNECTIONS
    assert set(results) == {"applied", "failed: refused", "not reached"}
    assert len(state(case)) == results.count("applied")


def test_a_quota_comes_up_before_anything_changes(case: Case) -> None:
    case.kubectl("create", "quota", "few", "--hard=count/configmaps=1")
    # Until a controller has counted, the answer is that the quota's status is unknown.
    probe = thing(case, "ConfigMap", "probe")
    until(lambda: "exceeded quota: few" in answer_to(case, probe), "the quota is counted")
    before = state(case)

    with pytest.raises(Failure) as caught:
        deploy(case, much(case, "MQ=="))

    assert "exceeded quota: few" in caught.value.why
    assert state(case) == before


def test_a_deployer_who_may_not_see_policies_has_everything_tried_until_granted_the_documented_role(
    case: Case, proxy: FaultProxy
) -> None:
    email = case.sandbox.make_account(case.name, ["container.clusters.get"], [])
    with connected(case) as connection:
        objects = named(connection, case, much(case, "MQ=="))
        needed = plan.needed(connection, case.environment, objects, case.settings.deploy)
    grant(case, manifest(needed, email))
    until(
        lambda: all(may(case, email, one.review()["spec"]["resourceAttributes"]) for one in needed),
        "the role counts",
    )

    with case.as_account(case.name).behind(proxy) as behind:
        deploy(behind, much(case, "MQ=="))
        without = written(proxy)
        grant(case, [*documented_role(), bound(email)])
        policies = {
            "group": "admissionregistration.k8s.io",
            "resource": "validatingadmissionpolicies",
            "verb": "list",
        }
        until(lambda: may(case, email, policies), "the documented role counts")
        deploy(behind, much(case, "Mg=="))

    assert without == (MANY + 10, MANY + 10)
    assert written(proxy) == (MANY + 10, 2 * (MANY + 10))


def grant(case: Case, documents: Objects) -> None:
    file = case.folder / "roles.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    case.kubectl("apply", "-f", str(file))


def documented_role() -> Objects:
    page = (ROOT / "docs/deploy.md").read_text()
    return [
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "of-much" in block
    ]


def bound(email: str) -> dict[str, Any]:
    group, name = "rbac.authorization.k8s.io", "lookit-deployer-of-much"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": email}],
    }
