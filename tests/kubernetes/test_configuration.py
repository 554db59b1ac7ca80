"""Values of both environments, and the keys of every secret."""

import base64
import configparser
import json
from pathlib import Path

import pytest

from tests.kubernetes.rendering import TREE, Tree
from tests.kubernetes.test_environment_variables import FROM_CONFIG, FROM_SECRET

SHARED = {
    "ACCOUNT_LOGOUT_REDIRECT_URL": "/login/",
    "CORS_ORIGIN_ALLOW_ALL": "",
    "CORS_ORIGIN_ALLOW_WHISTELIST": "",
    "CORS_ORIGIN_WHITELIST": "",
    "DB_PORT": "5432",
    "DEBUG": "",
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "EMBER_ADDONS_REPO": "https://github.com/lookit/exp-addons",
    "EMBER_EXP_PLAYER_BRANCH": "master",
    "EMBER_EXP_PLAYER_REPO": "https://github.com/lookit/ember-lookit-frameplayer",
    "GEVENT": "1",
    "SITE_NAME": "Lookit",
}
STAGING = {
    "ALLOWED_HOSTS": "babieshelpingscience.com",
    "BASE_URL": "https://babieshelpingscience.com/",
    "CLOUDSQL_INSTANCE_CONNECTION_NAME": "mit-lookit:us-east1:staging",
    "CLUSTER_ISSUER": "staging-acme-cluster-issuer",
    "EMAIL_FROM_ADDRESS": "lookit-staging-bot@mit.edu",
    "EMBER_ADDONS_BRANCH": "develop",
    "ENVIRONMENT": "staging",
    "EXPERIMENT_BASE_URL": "https://storage.googleapis.com/lookit-staging/experiments/",
    "LOGIN_REDIRECT_URL": "https://babieshelpingscience.com/exp/",
    "MEDIA_URL": "https://storage.googleapis.com/lookit-staging/media/",
    "OSF_ACCOUNTS_URL": "https://accounts.staging.osf.io",
    "OSF_API_URL": "https://api.staging.osf.io",
    "OSF_URL": "https://staging.osf.io/",
    "PREVIEW_EXPERIMENT_BASE_URL": "https://storage.googleapis.com/lookit-staging/preview_experiments/",
    "SECONDARY_DOMAIN": "lookit-staging.mit.edu",
    "SITE_DOMAIN": "babieshelpingscience.com",
    "STATIC_URL": "https://storage.googleapis.com/lookit-staging/static/",
}
PRODUCTION = {
    "ALLOWED_HOSTS": "childrenhelpingscience.com",
    "BASE_URL": "https://childrenhelpingscience.com/",
    "CLOUDSQL_INSTANCE_CONNECTION_NAME": "mit-lookit:us-east1:production",
    "CLUSTER_ISSUER": "production-acme-cluster-issuer",
    "EMAIL_FROM_ADDRESS": "lookit-bot@mit.edu",
    "EMBER_ADDONS_BRANCH": "master",
    "ENVIRONMENT": "production",
    "EXPERIMENT_BASE_URL": "https://storage.googleapis.com/lookit-production/experiments/",
    "LOGIN_REDIRECT_URL": "https://childrenhelpingscience.com/exp/",
    "MEDIA_URL": "https://storage.googleapis.com/lookit-production/media/",
    "OSF_ACCOUNTS_URL": "https://accounts.osf.io",
    "OSF_API_URL": "https://api.osf.io",
    "OSF_URL": "https://osf.io/",
    "PREVIEW_EXPERIMENT_BASE_URL": "https://storage.googleapis.com/lookit-production/preview_experiments/",
    "SECONDARY_DOMAIN": "lookit.mit.edu",
    "SITE_DOMAIN": "childrenhelpingscience.com",
    "STATIC_URL": "https://storage.googleapis.com/lookit-production/static/",
}
OWN = {"staging": STAGING, "production": PRODUCTION}
FILES = {"uwsgi.ini", "robots.txt"}
# Only for the render: components/wiring carries the first on, the second names the issuer.
FOR_NO_CONTAINER = {"CLOUDSQL_INSTANCE_CONNECTION_NAME", "CLUSTER_ISSUER"}

UWSGI = {
    "socket": ":5000",
    "http": ":8080",
    "stats": ":1717",
    "uid": "www-data",
    "gid": "www-data",
    "module": "project.wsgi:application",
    "env": "DJANGO_SETTINGS_MODULE=project.settings",
    "master": "true",
    "workers": "1",
    "threads": "1",
    "harakiri": "120",
    "buffer-size": "8192",
    "vacuum": "true",
    "need-app": "true",
    "hook-master-start": "unix_signal:15 gracefully_kill_them_all",
    "worker-reload-mercy": "120",
    "show-config": "true",
    "gevent": "2000",
    "gevent-early-monkey-patch": "true",
    "static-map": "/robots.txt=/etc/uwsgi/robots.txt",
}
RABBITMQ = {
    "default_user": "admin",
    "default_pass": "SET_AT_START",
    "management.load_definitions": "/opt/bitnami/rabbitmq/etc/rabbitmq/definitions.json",
    "cluster_formation.peer_discovery_backend": "rabbit_peer_discovery_k8s",
    "cluster_formation.k8s.host": "kubernetes.default.svc.cluster.local",
    "cluster_formation.node_cleanup.interval": "10",
    "cluster_formation.node_cleanup.only_log_warning": "true",
    "cluster_partition_handling": "autoheal",
    "queue_master_locator": "min-masters",
    "loopback_users.guest": "false",
}
ACCOUNT_KEY_FIELDS = """
    type project_id private_key_id private_key client_email client_id auth_uri token_uri
    auth_provider_x509_cert_url client_x509_cert_url
""".split()  # noqa: SIM905
SECRETS = {
    "lookit-secrets": {*FROM_SECRET, "rabbitmq-password", "googleAppCreds.json"},
    "cloudsql-instance-credentials": {"cloudsql-client-creds.json"},
    "lookit-rabbitmq": {"rabbitmq-erlang-cookie"},
}


def test_configmap_holds_the_values_of_its_environment(tree: Tree) -> None:
    data = tree.get("ConfigMap", "lookit-configmap")["data"]
    plain = {key: value for key, value in data.items() if key not in FILES}
    assert plain == SHARED | OWN[tree.environment]
    assert set(data) >= FILES


def test_containers_ask_for_all_plain_values_but_two(tree: Tree) -> None:
    assert set(SHARED | OWN[tree.environment]) - set(FROM_CONFIG) == FOR_NO_CONTAINER


def test_uwsgi_is_set_as_ever_and_logs_the_browser(tree: Tree) -> None:
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(tree.get("ConfigMap", "lookit-configmap")["data"]["uwsgi.ini"])
    settings = dict(parser["uwsgi"])
    log_format = settings.pop("log-format")
    assert settings == UWSGI
    assert log_format.startswith("[pid: %(pid)|")
    assert log_format.endswith('"%(uagent)"')


def test_uwsgi_waits_for_requests_and_the_pod_for_uwsgi(tree: Tree) -> None:
    pause = tree.container("Deployment", "web", "uwsgi")["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = tree.pod("Deployment", "web")["terminationGracePeriodSeconds"]
    assert UWSGI["worker-reload-mercy"] == UWSGI["harakiri"]
    assert grace > pause + int(UWSGI["worker-reload-mercy"])


def test_robots_stay_out_of_studies_and_admin(tree: Tree) -> None:
    lines = tree.get("ConfigMap", "lookit-configmap")["data"]["robots.txt"].splitlines()
    assert lines == ["User-agent: *", "Disallow: /exp/", "Disallow: /admin/", "Allow: /"]


def test_rabbitmq_is_configured_as_ever(tree: Tree) -> None:
    data = tree.get("ConfigMap", "lookit-rabbitmq-config")["data"]
    lines = [line for line in data["rabbitmq.conf"].splitlines() if not line.startswith("#")]
    assert dict(line.split(" = ") for line in lines) == RABBITMQ
    plugins = "rabbitmq_management, rabbitmq_peer_discovery_k8s, rabbitmq_auth_backend_ldap"
    assert data["enabled_plugins"].strip() == f"[{plugins}]."
    assert set(data) == {"rabbitmq.conf", "enabled_plugins"}


def test_health_checks_are_the_two_scripts(tree: Tree) -> None:
    data = tree.get("ConfigMap", "lookit-rabbitmq-healthchecks")["data"]
    assert set(data) == {"rabbitmq-api-check", "rabbitmq-health-check"}
    assert all(script.startswith("#!/bin/sh\n") for script in data.values())


@pytest.mark.parametrize("name", SECRETS)
def test_secret_has_exactly_the_keys_that_containers_ask_for(tree: Tree, name: str) -> None:
    secret = tree.get("Secret", name)
    assert (secret["type"], set(secret["data"])) == ("Opaque", SECRETS[name])


@pytest.mark.parametrize("name", SECRETS)
def test_the_bare_build_holds_no_value_of_a_secret(tree: Tree, name: str) -> None:
    for key, encoded in tree.get("Secret", name)["data"].items():
        value = base64.b64decode(encoded).decode()
        leaves = json.loads(value).values() if key.endswith(".json") else [value]
        assert set(leaves) == {""}, key


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_expected_files_list_every_key(environment: str) -> None:
    folder: Path = TREE / "overlays" / environment / "secrets"
    expected = {file.name: file.read_text() for file in folder.glob("*.expected")}
    assert set(expected) == {
        "lookit-secrets.env.expected",
        "lookit-rabbitmq.env.expected",
        "googleAppCreds.json.expected",
        "cloudsql-client-creds.json.expected",
    }
    assert expected["lookit-secrets.env.expected"].split() == [
        f"{key}=" for key in [*FROM_SECRET, "rabbitmq-password"]
    ]
    assert expected["lookit-rabbitmq.env.expected"] == "rabbitmq-erlang-cookie=\n"
    for name in ("googleAppCreds.json.expected", "cloudsql-client-creds.json.expected"):
        assert json.loads(expected[name]) == dict.fromkeys(ACCOUNT_KEY_FIELDS, "")
