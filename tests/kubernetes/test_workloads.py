"""What each workload runs, and how it starts, is probed and is replaced."""

import re

import pytest

from tests.kubernetes.rendering import ALL_WORKLOADS, APPLICATION, LABEL, Tree, by_name

APP_IMAGE = "gcr.io/mit-lookit/lookit:unreleased"
WAIT_IMAGE = "docker.io/library/postgres:16.4-alpine3.20"
BROKER_IMAGE = "docker.io/bitnamilegacy/rabbitmq:3.8.2-debian-10-r30"
IMAGES = {
    "uwsgi": APP_IMAGE,
    "beat": APP_IMAGE,
    "worker": APP_IMAGE,
    "builder": APP_IMAGE,
    "migration": APP_IMAGE,
    "collectstatic": APP_IMAGE,
    "docker": "docker.io/library/docker:27.5.1-dind",
    "rabbitmq": BROKER_IMAGE,
    "volume-permissions": BROKER_IMAGE,
    "cloud-sqlproxy": "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.27.0",
    "wait-init-rabbitmq": WAIT_IMAGE,
    "wait-init-gcloud-sqlproxy": WAIT_IMAGE,
}

CELERY = "gosu www-data celery -A project.celery.app"
WORKER = f"{CELERY} worker -c {{processes}} -l INFO -n worker.%h --without-gossip --max-tasks-per-child {{tasks}} -Q "
COMMANDS = {
    ("Deployment", "web", "uwsgi"): "uwsgi --ini /etc/uwsgi/uwsgi.ini",
    ("Deployment", "beat", "beat"): f"{CELERY} beat -l DEBUG --pidfile=",
    ("Deployment", "worker", "worker"): WORKER.format(processes=1, tasks=5) + "email",
    ("StatefulSet", "builder", "builder"): WORKER.format(processes=2, tasks=1) + "builds,cleanup",
    ("Job", "migration", "migration"): "python manage.py migrate",
    ("StatefulSet", "lookit-rabbitmq", "volume-permissions"): (
        "/bin/chown -R 1001:1001 /opt/bitnami/rabbitmq/var/lib/rabbitmq"
    ),
    ("Deployment", "gcloud-sqlproxy", "cloud-sqlproxy"): (
        "/cloud-sql-proxy mit-lookit:us-east1:{environment} --address=0.0.0.0 --port=5432"
        " --credentials-file=/secrets/cloudsql/cloudsql-client-creds.json --run-connection-test"
        " --health-check --http-address=0.0.0.0 --http-port=9801 --structured-logs"
        " --enable-builtin-metrics=false --max-sigterm-delay=15s --exit-zero-on-sigterm"
    ),
}
PORTS = {
    "uwsgi": {"wsgi": 5000, "http": 8080, "stats": 1717},
    "docker": {"docker": 2376},
    "rabbitmq": {"epmd": 4369, "amqp": 5672, "dist": 25672, "stats": 15672},
    "cloud-sqlproxy": {"sqlproxy": 5432, "health": 9801},
}
BOTH_WAITS = ["wait-init-rabbitmq", "wait-init-gcloud-sqlproxy"]
INIT_CONTAINERS = {
    "web": ["wait-init-gcloud-sqlproxy"],
    "beat": BOTH_WAITS,
    "worker": BOTH_WAITS,
    "builder": BOTH_WAITS,
    "migration": BOTH_WAITS,
    "collectstatic": ["wait-init-gcloud-sqlproxy"],
    "lookit-rabbitmq": ["volume-permissions"],
    "gcloud-sqlproxy": [],
}
ACCOUNTS = {
    **dict.fromkeys([name for _, name, _ in APPLICATION], "{prefix}rollout-waiter"),
    "lookit-rabbitmq": "{prefix}lookit-rabbitmq",
    "gcloud-sqlproxy": "default",
}
LABELS = {
    "web": ("web", "web-application"),
    "beat": ("beat", "celery-task-cron"),
    "worker": ("worker", "celery-task-runner"),
    "builder": ("builder", "experiment-builder"),
    "lookit-rabbitmq": ("rabbitmq", "message-queue"),
    "gcloud-sqlproxy": ("cloudsql-proxy", "google-cloudsql-proxy"),
    "migration": ("migration", "database-migration-job"),
    "collectstatic": ("collectstatic", "static-file-collector"),
}

ALL_AT_ONCE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize(("kind", "name", "container"), COMMANDS)
def test_container_runs(tree: Tree, kind: str, name: str, container: str) -> None:
    found = tree.container(kind, name, container)
    expected = COMMANDS[kind, name, container].format(environment=tree.environment)
    assert found["command"] == expected.split(" ")
    assert "args" not in found


def test_docker_starts_by_its_images_own_entry_point(tree: Tree) -> None:
    docker = tree.container("StatefulSet", "builder", "docker")
    assert not {"command", "args"} & set(docker)
    assert docker["securityContext"] == {"privileged": True}


def test_docker_starts_before_the_builder_that_needs_its_certificates(tree: Tree) -> None:
    assert [found["name"] for found in tree.pod("StatefulSet", "builder")["containers"]] == [
        "docker",
        "builder",
    ]


def test_only_docker_is_privileged(tree: Tree) -> None:
    privileged = {
        name
        for name, container in tree.every_container()
        if container.get("securityContext", {}).get("privileged")
    }
    assert privileged == {"docker"}


def test_images_are_pinned_and_as_few_as_will_do(tree: Tree) -> None:
    found = {name: container["image"] for name, container in tree.every_container()}
    assert found == IMAGES
    for image in found.values():
        tag = image.rpartition(":")[2]
        assert tag == "unreleased" or re.fullmatch(r"\d+\.\d+[.\w-]*", tag), image


def test_no_image_is_pulled_that_is_there(tree: Tree) -> None:
    assert {container["imagePullPolicy"] for _, container in tree.every_container()} == {"IfNotPresent"}


def test_ports(tree: Tree) -> None:
    for name, container in tree.every_container():
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        assert ports == PORTS.get(name, {}), name
        assert {port["protocol"] for port in container.get("ports", [])} <= {"TCP"}


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_pods_wait_in_order(tree: Tree, kind: str, name: str) -> None:
    found = [container["name"] for container in tree.pod(kind, name).get("initContainers", [])]
    assert found == INIT_CONTAINERS[name]


def test_waits_ask_the_environments_own_services(tree: Tree) -> None:
    for kind, name, _ in APPLICATION:
        for wait, container in by_name(tree.pod(kind, name)["initContainers"]).items():
            variable, service = {
                "wait-init-rabbitmq": ("RABBITMQ_HOST", "lookit-rabbitmq"),
                "wait-init-gcloud-sqlproxy": ("PGHOST", "gcloud-sqlproxy"),
            }[wait]
            assert container["env"] == [{"name": variable, "value": tree.real_name("Service", service)}]


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_pods_run_as(tree: Tree, kind: str, name: str) -> None:
    assert tree.pod(kind, name)["serviceAccountName"] == ACCOUNTS[name].format(prefix=tree.prefix)


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_only_rabbitmq_holds_a_token_for_the_api_server(tree: Tree, kind: str, name: str) -> None:
    expected = name == "lookit-rabbitmq"
    assert tree.pod(kind, name).get("automountServiceAccountToken", True) is expected


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_labels_of_workload_and_pods(tree: Tree, kind: str, name: str) -> None:
    workload = tree.get(kind, name)
    for labels in (workload["metadata"]["labels"], workload["spec"]["template"]["metadata"]["labels"]):
        assert (labels[LABEL + "name"], labels[LABEL + "component"]) == LABELS[name]


@pytest.mark.parametrize("name", ["builder", "lookit-rabbitmq"])
def test_stateful_sets_start_pods_in_order(tree: Tree, name: str) -> None:
    spec = tree.get("StatefulSet", name)["spec"]
    assert (spec["podManagementPolicy"], spec["updateStrategy"]["type"]) == ("OrderedReady", "RollingUpdate")
    assert spec["updateStrategy"].get("rollingUpdate", {"partition": 0}) == {"partition": 0}


@pytest.mark.parametrize("name", ["web", "worker", "gcloud-sqlproxy"])
def test_a_rollout_never_takes_the_only_pod_away_first(tree: Tree, name: str) -> None:
    assert tree.get("Deployment", name)["spec"]["strategy"] == ALL_AT_ONCE


def test_there_are_never_two_schedulers(tree: Tree) -> None:
    spec = tree.get("Deployment", "beat")["spec"]
    assert spec["replicas"] == 1
    # Type Recreate cannot be applied over a live rolling update: see the manifest.
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert tree.pod("Deployment", "beat")["terminationGracePeriodSeconds"] == 30


def test_static_files_are_uploaded_and_none_is_deleted(tree: Tree) -> None:
    python, option, script = tree.container("Job", "collectstatic", "collectstatic")["command"]
    assert (python, option) == ("python", "-c")
    assert "Command.delete_file = lambda *_: True" in script
    assert 'execute_from_command_line(["manage.py", "collectstatic", "--noinput"])' in script


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_one_replica_of_everything(tree: Tree, kind: str, name: str) -> None:
    assert tree.get(kind, name)["spec"].get("replicas", 1) == 1


@pytest.mark.parametrize(
    ("name", "retries", "restart"), [("migration", 5, "Never"), ("collectstatic", 6, "OnFailure")]
)
def test_jobs_give_up_after_a_quarter_of_an_hour(tree: Tree, name: str, retries: int, restart: str) -> None:
    spec = tree.get("Job", name)["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (900, retries)
    assert tree.pod("Job", name)["restartPolicy"] == restart
    assert tree.real_name("Job", name) == f"{tree.prefix}{name}"  # fixed: the deploy replaces it by name


def test_rabbitmq_runs_on_amd64_as_its_own_user(tree: Tree) -> None:
    pod = tree.pod("StatefulSet", "lookit-rabbitmq")
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["securityContext"] == {"runAsUser": 1001, "fsGroup": 1001}
    root = tree.container("StatefulSet", "lookit-rabbitmq", "volume-permissions")["securityContext"]
    assert root["runAsUser"] == 0


def test_every_container_asks_for_cpu_and_memory(tree: Tree) -> None:
    for name, container in tree.every_container():
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name


def test_memory_is_limited_but_where_a_limit_does_harm(tree: Tree) -> None:
    unlimited = {name for name, container in tree.every_container() if "limits" not in container["resources"]}
    assert unlimited == {"docker", "rabbitmq"}
    limits = [
        container["resources"]["limits"]
        for _, container in tree.every_container()
        if "limits" in container["resources"]
    ]
    assert all(set(limit) == {"memory"} for limit in limits)
