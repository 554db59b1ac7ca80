"""When a container counts as started, ready and alive."""

import pytest

from tests.kubernetes.rendering import Tree


def test_web_has_started_when_it_answers_a_request(tree: Tree) -> None:
    assert tree.container("Deployment", "web", "uwsgi")["startupProbe"] == {
        "httpGet": {"path": "/robots.txt", "port": "http"},
        "periodSeconds": 2,
        "timeoutSeconds": 5,
        "failureThreshold": 150,
    }


def test_web_is_ready_when_its_port_answers(tree: Tree) -> None:
    assert tree.container("Deployment", "web", "uwsgi")["readinessProbe"] == {
        "tcpSocket": {"port": 5000},
        "initialDelaySeconds": 10,
        "periodSeconds": 10,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_a_busy_web_server_is_not_killed(tree: Tree) -> None:
    assert tree.container("Deployment", "web", "uwsgi")["livenessProbe"]["tcpSocket"] == {"port": "stats"}


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "worker"), ("StatefulSet", "builder")])
def test_workers_have_started_when_they_answer_by_name(tree: Tree, kind: str, name: str) -> None:
    container = tree.container(kind, name, name)
    [shell, option, script] = container["startupProbe"]["exec"]["command"]
    assert [shell, option] == ["sh", "-c"]
    # Celery puts "celery@" before a name without @, and the host's name for %h.
    assert container["command"][container["command"].index("-n") + 1] == "worker.%h"
    assert script.endswith('inspect ping --timeout 10 -d "celery@worker.$(hostname)"')


def test_beat_has_started_when_the_broker_lets_it_in(tree: Tree) -> None:
    command = tree.container("Deployment", "beat", "beat")["startupProbe"]["exec"]["command"]
    assert command[:2] == ["python", "-c"]
    assert "ensure_connection(max_retries=1, timeout=10)" in command[2]


def test_celery_gets_three_minutes_to_start(tree: Tree) -> None:
    for kind, name in (("Deployment", "worker"), ("StatefulSet", "builder"), ("Deployment", "beat")):
        probe = tree.container(kind, name, name)["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == 180
        assert probe["timeoutSeconds"] == 30


def test_rabbitmq_gets_ten_minutes_to_open_its_port(tree: Tree) -> None:
    # The kind of check stays: beside a live TCP check, the API server refuses another kind.
    assert tree.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")["startupProbe"] == {
        "tcpSocket": {"port": 5672},
        "initialDelaySeconds": 5,
        "periodSeconds": 5,
        "failureThreshold": 120,
    }


def test_rabbitmq_is_ready_by_its_own_health_script(tree: Tree) -> None:
    probe = tree.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")["readinessProbe"]
    assert probe["exec"]["command"] == [
        "/usr/local/sbin/rabbitmq-health-check",
        "http://127.0.0.1:15672/api/healthchecks/node",
        '{"status":"ok"}',
    ]


def test_an_alarm_shuts_no_consumer_out_of_rabbitmq(tree: Tree) -> None:
    for name in ("lookit-rabbitmq", "lookit-rabbitmq-headless"):
        assert tree.get("Service", name)["spec"]["publishNotReadyAddresses"] is True


def test_probes_of_the_database_proxy_open_no_session_to_the_database(tree: Tree) -> None:
    proxy = tree.container("Deployment", "gcloud-sqlproxy", "cloud-sqlproxy")
    for probe in ("startup", "readiness", "liveness"):
        assert proxy[f"{probe}Probe"]["httpGet"] == {"path": f"/{probe}", "port": "health"}
    assert tree.get("Deployment", "gcloud-sqlproxy")["spec"]["progressDeadlineSeconds"] == 600


def test_probes_that_kill_take_minutes_to_make_up_their_mind(tree: Tree) -> None:
    patience = {
        name: container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"]
        for name, container in tree.every_container()
        if "livenessProbe" in container
    }
    assert patience == {"uwsgi": 150, "rabbitmq": 300, "docker": 600, "cloud-sqlproxy": 150}


def test_pods_that_are_replaced_outlive_their_place_in_the_service(tree: Tree) -> None:
    for name, container, seconds in (("web", "uwsgi", 15), ("gcloud-sqlproxy", "cloud-sqlproxy", 10)):
        lifecycle = tree.container("Deployment", name, container)["lifecycle"]
        assert lifecycle == {"preStop": {"sleep": {"seconds": seconds}}}
