"""The documented role of operators."""

import yaml

from tasks.lib.cluster.rbac import OPERATOR, ROLE, granted_by, roles
from tasks.lib.operate.permissions import of_an_operator, of_kubectl_exec, of_kubectl_port_forward
from tests.builders import ROOT

PAGE = list(yaml.safe_load_all((ROOT / "docs/deployer-role.yaml").read_text()))


def test_the_documented_role_is_what_the_tasks_need() -> None:
    documents = roles(of_an_operator("default"), "operator@mit-lookit.iam.gserviceaccount.com", OPERATOR)
    documented = [one for one in PAGE if one["metadata"]["name"] == OPERATOR]
    assert documented == documents, yaml.safe_dump_all(documents, sort_keys=False)


def test_a_deployer_may_do_the_same_but_reach_into_pods() -> None:
    deployer = granted_by(one for one in PAGE if one["metadata"]["name"] == ROLE)
    left = set(of_an_operator("default")) - set(deployer)
    assert left == {*of_kubectl_exec("default"), *of_kubectl_port_forward("default")}
