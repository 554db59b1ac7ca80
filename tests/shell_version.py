"""What deploy.sh left in a cluster: today's render with all taken back that docs/adopt.md lists as different."""

import copy
import re
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

LABEL = "app.kubernetes.io/"
OF_A_RELEASE = {f"{LABEL}instance": "lookit-0ld0ld0", f"{LABEL}version": "latest"}
TOKEN = "kubernetes.io/service-account-token"
HASH = re.compile(r"-[2456789bcdfghkmt]{10}$")
# Its names had a hash then too.
HASHED = ("lookit-secrets", "cloudsql-instance-credentials")
IMAGES = {
    "docker": "docker:dind",
    "cloud-sqlproxy": "gcr.io/cloudsql-docker/gce-proxy:latest",
    "rabbitmq": "docker.io/bitnami/rabbitmq:3.8.2-debian-10-r30",
    "volume-permissions": "docker.io/bitnami/minideb:buster",
    "wait-init-rabbitmq": "busybox",
    "wait-init-gcloud-sqlproxy": "postgres:9.6",
}
ADDED_TO_CONTAINERS = ("resources", "lifecycle", "livenessProbe")
ADDED_VARIABLES = ("CORS_ORIGIN_WHITELIST", "DB_PORT", "SITE_NAME")
ADDED_TO_PODS = ("automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds")


def objects(render: Iterable[Object], prefix: str) -> list[Object]:
    """The objects of the shell version for these of today; without Jobs, which every deploy deleted.

    Nothing runs: that saves the pods, and changes nothing of what the objects say.  The token Secret is left
    out, for the cluster deletes it: the account that it named then does not exist.
    """
    render = list(copy.deepcopy(render))
    kept = [one for one in render if one["kind"] != "Job" and one["metadata"]["name"] != "builder"]
    kept = [one for one in kept if one.get("type") != TOKEN]
    names = [one["metadata"]["name"] for one in kept if one["kind"] in {"ConfigMap", "Secret"}]
    plain = {
        name: HASH.sub("", name) for name in names if not name.startswith(tuple(prefix + n for n in HASHED))
    }
    [credentials] = [name for name in names if HASH.sub("", name) == f"{prefix}cloudsql-instance-credentials"]
    leftover = [
        {"name": "cloudsql-instance-credentials", "secret": {"secretName": credentials}},
        {"name": "config-volume", "configMap": {"name": f"{prefix}lookit-configmap"}},
    ]
    for one in kept:
        _before(one, prefix, leftover)
    return [_renamed(one, plain) for one in kept]


def _before(one: Object, prefix: str, leftover: list[Object]) -> None:
    kind, name = one["kind"], one["metadata"]["name"].removeprefix(prefix)
    if kind == "StorageClass":
        one["provisioner"] = "kubernetes.io/gce-pd"
    elif kind == "Service":
        one["spec"]["selector"] = {**one["spec"].get("selector", {}), **OF_A_RELEASE}
        one["metadata"]["labels"] |= OF_A_RELEASE
        one["spec"].pop("publishNotReadyAddresses", None)
        if name == "lookit-rabbitmq":
            one["spec"]["ports"].append({"name": "metrics", "port": 9419, "targetPort": "metrics"})
            one["metadata"]["annotations"] = {"prometheus.io/port": "9419", "prometheus.io/scrape": "true"}
    elif kind == "Ingress":
        _ingress_before(one, prefix)
    elif kind == "Role" and name == "deployment-statefulset-reader":
        one["rules"][0]["apiGroups"] = ["", "apps", "extensions"]
    elif kind in {"Deployment", "StatefulSet"}:
        _workload_before(one, name)
        _leave_volumes(one["spec"]["template"]["spec"]["volumes"], leftover)


def _ingress_before(one: Object, prefix: str) -> None:
    """Its class stood in an annotation as well: the server of today takes no new Ingress with both."""
    annotations = one["metadata"]["annotations"]
    annotations.pop("nginx.ingress.kubernetes.io/use-regex", None)
    annotations["cert-manager.io/cluster-issuer"] = f"{prefix}acme-cluster-issuer"
    [rule] = one["spec"]["rules"]
    for path in rule["http"]["paths"]:
        path["pathType"] = "Prefix"
    if one["metadata"]["name"] == f"{prefix}web-ingress":
        rule["http"]["paths"].append({**rule["http"]["paths"][0], "path": "/*"})


def _workload_before(one: Object, name: str) -> None:
    spec, pod = one["spec"], one["spec"]["template"]["spec"]
    spec["replicas"] = 0
    if name == "gcloud-sqlproxy":
        spec["strategy"]["rollingUpdate"]["maxUnavailable"] = 1
    else:
        spec.pop("strategy", None)
    one["metadata"]["annotations"] = {"lookit-env-vars": "", "wait-for-rabbitmq": ""}
    if one["kind"] == "Deployment":
        one["metadata"]["labels"] |= OF_A_RELEASE
    spec["template"]["metadata"].pop("annotations", None)
    spec["template"]["metadata"]["labels"] |= OF_A_RELEASE
    for field in ADDED_TO_PODS:
        pod.pop(field, None)
    if "nodeSelector" in pod:
        pod["nodeSelector"] = {"beta.kubernetes.io/arch": "amd64"}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        _container_before(container)
    if name == "web":
        pod["volumes"].append({"name": "static-volume", "emptyDir": {}})


def _container_before(container: Object) -> None:
    name = container["name"]
    for field in ADDED_TO_CONTAINERS:
        container.pop(field, None)
    if name != "uwsgi":
        container.pop("readinessProbe", None)
    if name not in {"docker", "volume-permissions"}:
        container.pop("securityContext", None)
    if name == "cloud-sqlproxy":
        container["volumeMounts"][0].pop("readOnly")
        container["ports"] = container["ports"][:1]
        instance = f"-instances={container['command'][1]}=tcp:0.0.0.0:5432"
        key = "-credential_file=/secrets/cloudsql/cloudsql-client-creds.json"
        container["command"] = ["/cloud_sql_proxy", instance, key]
    container["env"] = [one for one in container.get("env", []) if one["name"] not in ADDED_VARIABLES]
    if name != "rabbitmq":
        container.pop("startupProbe", None)
    else:
        container["startupProbe"].pop("failureThreshold")
    if name == "uwsgi":
        container["volumeMounts"] = [m for m in container["volumeMounts"] if m.get("subPath") != "robots.txt"]
    if name in IMAGES:
        container["image"] = IMAGES[name]
        container.pop("imagePullPolicy", None)


def _leave_volumes(volumes: list[Object], leftover: list[Object]) -> None:
    """All application pods declared these, and mounted few; RabbitMQ's scripts had a mode in decimal."""
    for volume in volumes:
        for item in volume.get("configMap", {}).get("items", []):
            if "mode" in item:
                item["mode"] = 111
    there = {volume["name"] for volume in volumes}
    if "secret-volume" in there:
        for volume in volumes:
            for source in ("secret", "configMap"):
                volume.get(source, {}).pop("items", None)
        volumes += [volume for volume in leftover if volume["name"] not in there]


def _renamed(thing: Any, names: dict[str, str]) -> Any:
    """`thing` with other names for ConfigMaps and Secrets, wherever they stand."""
    if isinstance(thing, dict):
        return {key: _renamed(value, names) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_renamed(value, names) for value in thing]
    return names.get(thing, thing) if isinstance(thing, str) else thing
