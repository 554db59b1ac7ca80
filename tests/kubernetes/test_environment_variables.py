"""Every variable of every container, with its source."""

import pytest

from tests.kubernetes.rendering import ALL_WORKLOADS, APPLICATION, Object, Tree, by_name

FROM_CONFIG = """
    ACCOUNT_LOGOUT_REDIRECT_URL ALLOWED_HOSTS BASE_URL CORS_ORIGIN_ALLOW_ALL CORS_ORIGIN_ALLOW_WHISTELIST
    CORS_ORIGIN_WHITELIST DB_PORT DEBUG DJANGO_SETTINGS_MODULE EMAIL_FROM_ADDRESS EMBER_ADDONS_BRANCH
    EMBER_ADDONS_REPO EMBER_EXP_PLAYER_BRANCH EMBER_EXP_PLAYER_REPO ENVIRONMENT EXPERIMENT_BASE_URL GEVENT
    LOGIN_REDIRECT_URL MEDIA_URL OSF_ACCOUNTS_URL OSF_API_URL OSF_URL PREVIEW_EXPERIMENT_BASE_URL
    SECONDARY_DOMAIN SITE_DOMAIN SITE_NAME STATIC_URL
""".split()  # noqa: SIM905
FROM_SECRET = """
    AWS_ACCESS_KEY_ID AWS_LAMBDA_SECRET_ACCESS_KEY AWS_SECRET_ACCESS_KEY BUCKET_NAME
    DB_HOST DB_NAME DB_PASSWORD DB_USER
    GOOGLE_APPLICATION_CREDENTIALS GOOGLE_TAG_MANAGER_ID GS_BUCKET_NAME GS_PRIVATE_BUCKET_NAME GS_PROJECT_ID
    JSPSYCH_S3_ACCESS_KEY_ID JSPSYCH_S3_BUCKET JSPSYCH_S3_REGION JSPSYCH_S3_SECRET_ACCESS_KEY
    OSF_OAUTH_CLIENT_ID OSF_OAUTH_SECRET PIPE_ACCOUNT_HASH PIPE_ENVIRONMENT PIPE_WEBHOOK_KEY
    S3_ACCESS_KEY_ID S3_BUCKET S3_REGION S3_SECRET_ACCESS_KEY
    SECRET_KEY SENDGRID_API_KEY SENTRY_DSN SENTRY_DSN_JS
""".split()  # noqa: SIM905
RABBITMQ = {
    "BITNAMI_DEBUG": "false",
    "K8S_SERVICE_NAME": "{prefix}lookit-rabbitmq-headless",
    "K8S_ADDRESS_TYPE": "hostname",
    "RABBITMQ_NODENAME": "rabbit@$(MY_POD_NAME).$(K8S_SERVICE_NAME).$(MY_POD_NAMESPACE).svc.cluster.local",
    "K8S_HOSTNAME_SUFFIX": ".$(K8S_SERVICE_NAME).$(MY_POD_NAMESPACE).svc.cluster.local",
    "RABBITMQ_LOGS": "-",
    "RABBITMQ_ULIMIT_NOFILES": "65536",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:1",
    "RABBITMQ_USE_LONGNAME": "true",
    "MY_POD_IP": "field status.podIP",
    "MY_POD_NAME": "field metadata.name",
    "MY_POD_NAMESPACE": "field metadata.namespace",
    "RABBITMQ_ERL_COOKIE": "secret lookit-rabbitmq/rabbitmq-erlang-cookie",
    "RABBITMQ_PASSWORD": "secret lookit-secrets/rabbitmq-password",
}
DOCKER = {
    "DOCKER_HOST": "tcp://localhost:2376",
    "DOCKER_TLS_VERIFY": "1",
    "DOCKER_CERT_PATH": "/certs/client",
}


def shared() -> dict[str, str]:
    """What all six application containers see, in the notation of `sources`."""
    return {
        "RABBITMQ_HOST": "{prefix}lookit-rabbitmq",
        "RABBITMQ_PORT": "5672",
        "RABBITMQ_VHOST": "/",
        "RABBITMQ_USERNAME": "admin",
        "RABBITMQ_PASSWORD": "secret lookit-secrets/rabbitmq-password",
        **{name: f"config lookit-configmap/{name}" for name in FROM_CONFIG},
        **{name: f"secret lookit-secrets/{name}" for name in FROM_SECRET},
    }


def sources(tree: Tree, container: Object) -> dict[str, str]:
    """Each variable's value, or where it comes from, with names as the base has them."""
    plain = {found["metadata"]["name"]: name for (_, name), found in tree.objects.items()}
    result = {}
    for variable in container.get("env", []):
        match variable:
            case {"value": str(value)}:
                result[variable["name"]] = value.replace(tree.prefix, "{prefix}")
            case {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}:
                result[variable["name"]] = f"secret {plain[name]}/{key}"
            case {"valueFrom": {"configMapKeyRef": {"name": name, "key": key}}}:
                result[variable["name"]] = f"config {plain[name]}/{key}"
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                result[variable["name"]] = f"field {path}"
            case _:
                pytest.fail(f"a variable of a form not known here: {variable}")
    assert len(result) == len(container.get("env", [])), "a variable is set twice"
    return result


def test_the_shared_environment_has_sixty_two_variables() -> None:
    assert len(shared()) == 62


@pytest.mark.parametrize(("kind", "name", "container"), APPLICATION)
def test_application_container_sees_exactly_its_variables(
    tree: Tree, kind: str, name: str, container: str
) -> None:
    expected = shared() | (DOCKER if container == "builder" else {})
    assert sources(tree, tree.container(kind, name, container)) == expected


def test_rabbitmq_sees_exactly_its_variables(tree: Tree) -> None:
    assert sources(tree, tree.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")) == RABBITMQ


def test_rabbitmq_defines_each_variable_before_using_it(tree: Tree) -> None:
    names = list(by_name(tree.container("StatefulSet", "lookit-rabbitmq", "rabbitmq")["env"]))
    used = ["MY_POD_NAME", "MY_POD_NAMESPACE", "K8S_SERVICE_NAME"]
    last = max(names.index(name) for name in used)
    assert last < min(names.index("RABBITMQ_NODENAME"), names.index("K8S_HOSTNAME_SUFFIX"))


@pytest.mark.parametrize(
    ("kind", "name", "container"),
    [
        ("StatefulSet", "builder", "docker"),
        ("Deployment", "gcloud-sqlproxy", "cloud-sqlproxy"),
        ("StatefulSet", "lookit-rabbitmq", "volume-permissions"),
    ],
)
def test_container_sees_no_variables(tree: Tree, kind: str, name: str, container: str) -> None:
    assert tree.container(kind, name, container).get("env", []) == []


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_nothing_gets_in_by_envfrom_or_service_links(tree: Tree, kind: str, name: str) -> None:
    pod = tree.pod(kind, name)
    assert pod["enableServiceLinks"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert "envFrom" not in container
