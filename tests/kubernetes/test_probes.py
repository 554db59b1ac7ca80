"""When a container counts as started, ready and alive."""

from tests.kubernetes.rendering import Tree


def test_web_is_ready_when_its_port_answers(tree: Tree) -> None:
    assert tree.container("Deployment", "web", "uwsgi")["readinessProbe"] == {
        "tcpSocket": {"port": 5000},
        "initialDelaySeconds": 10,
        "periodSeconds": 10,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_a_busy_web_server_is_never_killed_for_its_full_queue(tree: Tree) -> None:
    assert tree.container("Deployment", "web", "uwsgi")["livenessProbe"]["tcpSocket"] == {"port": "stats"}


def test_rabbitmq_gets_ten_minutes_to_start_by_its_own_health_script(tree: Tree) -> None:
    probe = tree.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")["startupProbe"]
    assert probe["exec"]["command"] == [
        "/usr/local/sbin/rabbitmq-health-check",
        "http://127.0.0.1:15672/api/healthchecks/node",
        '{"status":"ok"}',
    ]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 600
    assert probe["initialDelaySeconds"] == 5


def test_rabbitmq_is_ready_when_its_port_answers_alarm_or_not(tree: Tree) -> None:
    probe = tree.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")["readinessProbe"]
    assert (probe["tcpSocket"], probe["initialDelaySeconds"], probe["periodSeconds"]) == (
        {"port": 5672},
        5,
        5,
    )


def test_the_database_proxy_is_probed_only_until_it_listens(tree: Tree) -> None:
    proxy = tree.container("Deployment", "gcloud-sqlproxy", "cloud-sqlproxy")
    assert proxy["startupProbe"]["tcpSocket"] == {"port": "sqlproxy"}
    assert not {"readinessProbe", "livenessProbe"} & set(proxy)
    assert tree.get("Deployment", "gcloud-sqlproxy")["spec"]["progressDeadlineSeconds"] == 600


def test_probes_that_kill_take_minutes_to_make_up_their_mind(tree: Tree) -> None:
    patience = {
        name: container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"]
        for name, container in tree.every_container()
        if "livenessProbe" in container
    }
    assert patience == {"uwsgi": 150, "rabbitmq": 300, "docker": 600}


def test_pods_that_are_replaced_outlive_their_place_in_the_service(tree: Tree) -> None:
    for name, container, seconds in (("web", "uwsgi", 15), ("gcloud-sqlproxy", "cloud-sqlproxy", 10)):
        lifecycle = tree.container("Deployment", name, container)["lifecycle"]
        assert lifecycle == {"preStop": {"sleep": {"seconds": seconds}}}
