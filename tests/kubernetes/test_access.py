"""Who may do what, and where disks come from."""

import pytest

from tests.kubernetes.rendering import Tree

RULES = {
    "deployment-statefulset-reader": [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments", "statefulsets"],
            "verbs": ["get", "list", "watch"],
        }
    ],
    "lookit-rabbitmq-endpoint-reader": [{"apiGroups": [""], "resources": ["endpoints"], "verbs": ["get"]}],
}
BINDINGS = {
    "rollout-waiter-binding": ("deployment-statefulset-reader", "rollout-waiter"),
    "lookit-rabbitmq-endpoint-reader": ("lookit-rabbitmq-endpoint-reader", "lookit-rabbitmq"),
}


@pytest.mark.parametrize("name", RULES)
def test_role_allows_what_is_used_and_no_more(tree: Tree, name: str) -> None:
    assert tree.get("Role", name)["rules"] == RULES[name]


@pytest.mark.parametrize("name", BINDINGS)
def test_binding_gives_the_role_to_the_account(tree: Tree, name: str) -> None:
    role, account = BINDINGS[name]
    binding = tree.get("RoleBinding", name)
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": tree.real_name("Role", role),
    }
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": tree.real_name("ServiceAccount", account), "namespace": "default"}
    ]


def test_the_token_is_of_an_account_that_exists(tree: Tree) -> None:
    token = tree.get("Secret", "rollout-waiter-token")
    assert token["type"] == "kubernetes.io/service-account-token"
    assert token["metadata"]["annotations"] == {
        "kubernetes.io/service-account.name": tree.real_name("ServiceAccount", "rollout-waiter")
    }
    assert "data" not in token


def test_ssd_uses_the_current_storage_driver(tree: Tree) -> None:
    storage = tree.get("StorageClass", "ssd")
    assert storage["provisioner"] == "pd.csi.storage.gke.io"
    assert storage["parameters"] == {"type": "pd-ssd"}
    assert storage["volumeBindingMode"] == "WaitForFirstConsumer"
