from typing import Any

import pytest

from tasks.lib.deploy.doom import NEVER, RULES, Trouble, container_to_blame, trouble


def pod(*statuses: dict[str, Any], init: list[dict[str, Any]] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1"},
        "spec": {"containers": [{"name": "uwsgi"}]},
        "status": {"containerStatuses": list(statuses), "initContainerStatuses": init or [], **status},
    }


def waiting(reason: str, message: str = "", name: str = "uwsgi", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}, **more}


ROWS = [
    ("InvalidImageName", "couldn't parse", 0),
    ("ErrImageNeverPull", "", 0),
    ("ErrImagePull", 'rpc error: code = NotFound desc = "x:1": not found', 0),
    ("ErrImagePull", "pull access denied", 0),
    ("ImagePullBackOff", "manifest unknown", 0),
    ("ErrImagePull", "dial tcp: i/o timeout", 45),
    ("ImagePullBackOff", 'Back-off pulling image "x:1"', 45),
    ("CrashLoopBackOff", "back-off 10s restarting failed container", 0),
    ("CreateContainerConfigError", 'configmap "x" not found', 0),
    ("CreateContainerError", "context deadline exceeded", 15),
    ("RunContainerError", "no such file", 15),
]


@pytest.mark.parametrize(("reason", "message", "patience"), ROWS)
def test_a_container_that_waits_has_as_long_as_its_rule_allows(
    reason: str, message: str, patience: float
) -> None:
    found = trouble(pod(waiting(reason, message)))

    assert found is not None
    assert (found.reason, found.patience, found.container) == (reason, patience, "uwsgi")


def test_every_rule_has_a_row_above() -> None:
    tried = {(reason, patience) for reason, _, patience in ROWS}
    assert tried == {(rule.reason, rule.patience) for rule in RULES}


@pytest.mark.parametrize(
    "healthy",
    [
        pod(),
        pod({"name": "uwsgi", "state": {"running": {}}}),
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing")),
        {"metadata": {"name": "new"}, "spec": {"containers": []}},
    ],
    ids=["nothing known", "running", "being created", "init containers run", "no status yet"],
)
def test_a_pod_that_is_starting_has_no_trouble(healthy: dict[str, Any]) -> None:
    assert trouble(healthy) is None


def test_a_pod_that_is_being_deleted_is_not_judged() -> None:
    ending = pod(waiting("CrashLoopBackOff"))
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert trouble(ending) is None


def test_the_worst_trouble_is_told_with_container_exit_code_and_words() -> None:
    crashed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    found = trouble(
        pod(
            waiting("CreateContainerError", "slow"),
            waiting("CrashLoopBackOff", "back-off 20s", "sidecar", lastState=crashed),
        )
    )
    assert str(found) == (
        "pod web-1, container sidecar: CrashLoopBackOff: the container ended twice or more and is restarted "
        "ever more slowly; exit code 137 (OOMKilled) (back-off 20s)"
    )


def test_an_init_container_counts_like_any_other() -> None:
    found = trouble(
        pod(waiting("PodInitializing"), init=[waiting("ErrImageNeverPull", name="wait-for-database")])
    )
    assert found is not None
    assert found.container == "wait-for-database"


def test_a_pod_without_a_node_is_told_but_may_wait_for_an_autoscaler() -> None:
    lacking = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    assert trouble(pod(conditions=[lacking])) == Trouble(
        "web-1",
        "",
        "Unschedulable",
        "0/2 nodes",
        "no node can take the pod; an autoscaler may add one",
        NEVER,
    )


@pytest.mark.parametrize(
    ("statuses", "container"),
    [
        ([], "uwsgi"),
        ([{"name": "side", "state": {"terminated": {"exitCode": 1}}}], "side"),
        ([{"name": "side", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 2}}}], "side"),
        ([waiting("CrashLoopBackOff", name="side")], "side"),
        ([{"name": "side", "state": {"terminated": {"exitCode": 0}}}], "uwsgi"),
    ],
)
def test_the_log_shown_is_that_of_the_container_to_blame(
    statuses: list[dict[str, Any]], container: str
) -> None:
    assert container_to_blame(pod(*statuses)) == container
