"""What is mounted where, and the disks behind it."""

from typing import Any

import pytest

from tests.kubernetes.rendering import ALL_WORKLOADS, APPLICATION, Object, Tree

# Mounts of each container: path -> volume or claim, and the one file of it where it is one.
CREDENTIALS = {"/etc/googleAppCreds.json": "secret-volume:googleAppCreds.json"}
SHARED_WITH_DOCKER = {
    "/code/ember_build/checkouts": "checkouts-volume",
    "/code/ember_build/deployments": "deployments-volume",
    "/certs/client": "docker-client-certs",
}
MOUNTS = {
    "uwsgi": CREDENTIALS
    | {
        "/etc/uwsgi/uwsgi.ini": "config-volume:uwsgi.ini",
        "/etc/uwsgi/robots.txt": "config-volume:robots.txt",
    },
    "beat": CREDENTIALS,
    "worker": CREDENTIALS,
    "builder": CREDENTIALS | SHARED_WITH_DOCKER,
    "docker": SHARED_WITH_DOCKER | {"/var/lib/docker": "docker-volume", "/code/scratch": "scratch"},
    "migration": CREDENTIALS,
    "collectstatic": CREDENTIALS,
    "rabbitmq": {
        "/opt/bitnami/rabbitmq/conf": "config-volume",
        "/usr/local/sbin/rabbitmq-api-check": "healthchecks:rabbitmq-api-check",
        "/usr/local/sbin/rabbitmq-health-check": "healthchecks:rabbitmq-health-check",
        "/opt/bitnami/rabbitmq/var/lib/rabbitmq": "data",
    },
    "volume-permissions": {"/opt/bitnami/rabbitmq/var/lib/rabbitmq": "data"},
    "cloud-sqlproxy": {"/secrets/cloudsql": "cloudsql-instance-credentials"},
}
APP_CREDENTIALS = ("Secret lookit-secrets", 0o644, {"googleAppCreds.json": None})
VOLUMES: dict[str, dict[str, Any]] = {
    **{name: {"secret-volume": APP_CREDENTIALS} for _, name, _ in APPLICATION},
    "web": {
        "secret-volume": APP_CREDENTIALS,
        "config-volume": ("ConfigMap lookit-configmap", 0o644, {"uwsgi.ini": None, "robots.txt": None}),
    },
    "builder": {
        "secret-volume": APP_CREDENTIALS,
        **dict.fromkeys(SHARED_WITH_DOCKER.values(), "emptyDir"),
    },
    "lookit-rabbitmq": {
        "config-volume": (
            "ConfigMap lookit-rabbitmq-config",
            None,
            {"rabbitmq.conf": None, "enabled_plugins": None},
        ),
        "healthchecks": (
            "ConfigMap lookit-rabbitmq-healthchecks",
            None,
            {"rabbitmq-health-check": 0o555, "rabbitmq-api-check": 0o555},
        ),
    },
    "gcloud-sqlproxy": {
        "cloudsql-instance-credentials": ("Secret cloudsql-instance-credentials", 0o644, {}),
    },
}
CLAIMS = {
    "builder": {"docker-volume": ("10Gi", "{prefix}ssd"), "scratch": ("100Gi", "standard")},
    "lookit-rabbitmq": {"data": ("8Gi", "{prefix}ssd")},
}


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_mounts(tree: Tree, kind: str, name: str) -> None:
    for container, found in tree.containers(kind, name).items():
        mounts = {
            mount["mountPath"]: ":".join(filter(None, [mount["name"], mount.get("subPath", "")]))
            for mount in found.get("volumeMounts", [])
        }
        assert mounts == MOUNTS.get(container, {}), container


def test_credentials_and_settings_are_mounted_read_only(tree: Tree) -> None:
    mounts = [mount for _, container in tree.every_container() for mount in container.get("volumeMounts", [])]
    files = [mount for mount in mounts if mount["mountPath"].startswith("/etc/")]
    assert len(files) == 8
    assert all(mount["readOnly"] for mount in files)


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_volumes(tree: Tree, kind: str, name: str) -> None:
    volumes = {volume["name"]: describe(tree, volume) for volume in tree.pod(kind, name).get("volumes", [])}
    assert volumes == VOLUMES[name]


def describe(tree: Tree, volume: Object) -> object:
    """The volume in the notation of VOLUMES."""
    match volume:
        case {"emptyDir": dict()}:
            return "emptyDir"
        case {"secret": {"secretName": name} as source}:
            kind = "Secret"
        case {"configMap": {"name": name} as source}:
            kind = "ConfigMap"
        case _:
            return volume
    plain = next(plain for plain, found in tree.of_kind(kind).items() if found["metadata"]["name"] == name)
    items = {item["key"]: item.get("mode") for item in source.get("items", [])}
    assert all(item["key"] == item["path"] for item in source.get("items", []))
    return f"{kind} {plain}", source.get("defaultMode"), items


@pytest.mark.parametrize(("kind", "name"), ALL_WORKLOADS)
def test_every_volume_is_mounted(tree: Tree, kind: str, name: str) -> None:
    workload = tree.get(kind, name)
    declared = {volume["name"] for volume in tree.pod(kind, name).get("volumes", [])}
    declared |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    mounted = {
        mount["name"]
        for container in tree.containers(kind, name).values()
        for mount in container.get("volumeMounts", [])
    }
    assert declared == mounted


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(tree: Tree, name: str) -> None:
    claims = tree.get("StatefulSet", name)["spec"]["volumeClaimTemplates"]
    found = {
        claim["metadata"]["name"]: (
            claim["spec"]["resources"]["requests"]["storage"],
            claim["spec"]["storageClassName"].replace(tree.prefix, "{prefix}"),
        )
        for claim in claims
    }
    assert found == CLAIMS[name]
    assert all(claim["spec"]["accessModes"] == ["ReadWriteOnce"] for claim in claims)
    assert all(claim["spec"].get("volumeMode", "Filesystem") == "Filesystem" for claim in claims)
