import pytest

from tasks.lib.deploy.rollout.failure_rules import NEVER, RULES, Problem, Where, problem, rule

POD = {"kind": "Pod", "metadata": {"name": "web-1"}}
FORBIDDEN = 'pods "web-1" is forbidden: '

# One row or more for each rule, with messages as Kubernetes words them.
ROWS = [
    (Where.CONTAINER, "InvalidImageName", "couldn't parse image name", 0),
    (Where.CONTAINER, "ErrImageNeverPull", "", 0),
    (Where.CONTAINER, "ErrImagePull", 'rpc error: code = NotFound desc = "x:1": not found', 0),
    (Where.CONTAINER, "ErrImagePull", "pull access denied", 0),
    (Where.CONTAINER, "ImagePullBackOff", "manifest unknown", 0),
    (Where.CONTAINER, "ErrImagePull", "dial tcp: i/o timeout", 45),
    (Where.CONTAINER, "ImagePullBackOff", 'Back-off pulling image "x:1"', 45),
    (Where.CONTAINER, "CrashLoopBackOff", "failed to create containerd task: OCI runtime create failed", 0),
    (Where.CONTAINER, "CrashLoopBackOff", "back-off 10s restarting failed container", 0),
    (Where.CONTAINER, "CreateContainerConfigError", 'configmap "x" not found', 0),
    (Where.CONTAINER, "CreateContainerConfigError", 'secret "x" not found', 0),
    (Where.CONTAINER, "CreateContainerConfigError", "couldn't find key K in Secret default/x", 0),
    (Where.CONTAINER, "CreateContainerConfigError", "failed to sync secret cache: timed out waiting", 30),
    (Where.CONTAINER, "CreateContainerError", "context deadline exceeded", 15),
    (Where.CONTAINER, "RunContainerError", "no such file", 15),
    (Where.CONTAINER, "Error", "", NEVER),
    (Where.CONTAINER, "OOMKilled", "", NEVER),
    (
        Where.POD,
        "Evicted",
        "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ",
        0,
    ),
    (Where.POD, "Evicted", 'Usage of EmptyDir volume "d" exceeds the limit "5Mi". ', 0),
    (Where.POD, "Evicted", "The node was low on resource: ephemeral-storage.", NEVER),
    (Where.POD, "Unhealthy", "Readiness probe failed: connection refused", NEVER),
    (Where.POD, "FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "x" not found', 0),
    (Where.POD, "FailedMount", 'failed for volume "v" : references non-existent secret key: k', 0),
    (Where.POD, "FailedMount", "Unable to attach or mount volumes: timed out waiting", NEVER),
    (Where.POD, "FailedAttachVolume", 'Multi-Attach error for volume "pvc-1"', NEVER),
    (Where.POD, "FailedCreatePodSandBox", "failed to set up sandbox", NEVER),
    (Where.POD, "Unschedulable", '0/2 nodes are available: persistentvolumeclaim "x" not found.', 15),
    (Where.POD, "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.", 300),
    (Where.WORKLOAD, "FailedCreate", FORBIDDEN + "exceeded quota: few, requested: pods=1, used: pods=1", 30),
    (Where.WORKLOAD, "FailedCreate", FORBIDDEN + "failed quota: few: must specify limits.cpu for: c", 0),
    (Where.WORKLOAD, "FailedCreate", FORBIDDEN + "maximum cpu usage per Container is 1, but limit is 2", 0),
    (Where.WORKLOAD, "FailedCreate", 'admission webhook "x.example.org" denied the request: no', 0),
    (Where.WORKLOAD, "FailedCreate", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", 0),
    (Where.WORKLOAD, "FailedCreate", FORBIDDEN + 'violates PodSecurity "restricted:latest"', 0),
    (Where.WORKLOAD, "FailedCreate", 'Pod "web-1" is invalid: spec.containers[0].image: Required value', 0),
    (Where.WORKLOAD, "FailedCreate", FORBIDDEN + 'error looking up: serviceaccount "x" not found', 15),
    (Where.WORKLOAD, "FailedCreate", FORBIDDEN + "no PriorityClass with name x was found", 15),
    (Where.WORKLOAD, "FailedCreate", 'failed calling webhook "x.example.org": connection refused', 45),
    (Where.WORKLOAD, "Paused", "", 0),
    (Where.WORKLOAD, "Suspended", "", 300),
    (Where.WORKLOAD, "ProgressDeadlineExceeded", "", 0),
    (Where.WORKLOAD, "BackoffLimitExceeded", "", 0),
    (Where.WORKLOAD, "DeadlineExceeded", "", 0),
    (Where.WORKLOAD, "PodFailurePolicy", "", 0),
    (Where.CLAIM, "ProvisioningFailed", 'storageclass.storage.k8s.io "x" not found', 0),
    (Where.CLAIM, "ProvisioningFailed", "Quota 'SSD_TOTAL_GB' exceeded", 120),
    (Where.CLAIM, "FailedBinding", "", 120),
]


@pytest.mark.parametrize(("where", "reason", "message", "patience"), ROWS)
def test_a_state_has_as_long_as_its_rule_allows(
    where: Where, reason: str, message: str, patience: float
) -> None:
    found = problem(where, POD, reason, message)

    assert found is not None
    assert (found.reason, found.message, found.patience) == (reason, message, patience)
    assert found.is_lasting is (patience != NEVER)


def test_a_catch_all_rule_is_last_of_its_reason() -> None:
    for number, one in enumerate(RULES):
        later = [(other.where, other.reason) for other in RULES[number + 1 :]]
        assert one.message or (one.where, one.reason) not in later, one


def test_every_rule_has_a_row_above() -> None:
    tried = [rule(where, reason, message) for where, reason, message, _ in ROWS]
    assert [one for one in RULES if one not in tried] == []


@pytest.mark.parametrize(
    ("where", "reason"), [(Where.CONTAINER, "ContainerCreating"), (Where.POD, "CrashLoopBackOff")]
)
def test_a_state_without_a_rule_is_no_problem(where: Where, reason: str) -> None:
    assert problem(where, POD, reason, "") is None


def test_a_problem_names_place_reason_meaning_and_message() -> None:
    found = problem(
        Where.CONTAINER, POD, "ErrImageNeverPull", "words", "init container wait", "; exit code 1"
    )
    assert found is not None
    assert found.container_name == "wait"
    assert str(found) == (
        "pod web-1, init container wait: ErrImageNeverPull: the image is not on the node and may not be "
        "pulled; exit code 1 (words)"
    )


def test_a_problem_without_verdict_never_fails_a_deploy() -> None:
    found = Problem("Pod", "web-1", "", "Unschedulable", "", "", 300, "scheduling").without_verdict()
    assert (found.patience, found.limit) == (NEVER, "")


def test_a_problem_stays_the_same_while_its_message_changes() -> None:
    one, other = (problem(Where.POD, POD, "Unschedulable", f"0/{n} nodes") for n in (2, 3))
    assert one is not None
    assert other is not None
    assert one.key == other.key
