"""Services, routes and certificates."""

import pytest

from tests.kubernetes.rendering import LABEL, RELEASE_LABELS, Tree

HOSTS = {
    "staging": ("babieshelpingscience.com", "lookit-staging.mit.edu"),
    "production": ("childrenhelpingscience.com", "lookit.mit.edu"),
}
ACME = {
    "staging": ("lookit+staging@mit.edu", "letsencrypt-staging"),
    "production": ("lookit@mit.edu", "letsencrypt-prod"),
}
BROKER_PORTS = {
    "epmd": (4369, "epmd"),
    "amqp": (5672, "amqp"),
    "dist": (25672, "dist"),
    "stats": (15672, "stats"),
}
PORTS = {
    "web": {"http": (8080, "http")},
    "gcloud-sqlproxy": {"sqlproxy": (5432, "sqlproxy")},
    "lookit-rabbitmq": BROKER_PORTS,
    "lookit-rabbitmq-headless": BROKER_PORTS,
    "builder": {"docker": (2376, "docker")},
    "google-storage": {},
}
BEHIND = {
    "web": ("Deployment", "web"),
    "gcloud-sqlproxy": ("Deployment", "gcloud-sqlproxy"),
    "lookit-rabbitmq": ("StatefulSet", "lookit-rabbitmq"),
    "lookit-rabbitmq-headless": ("StatefulSet", "lookit-rabbitmq"),
    "builder": ("StatefulSet", "builder"),
}
NGINX = "nginx.ingress.kubernetes.io/"
ISSUER = "cert-manager.io/cluster-issuer"


@pytest.mark.parametrize("name", PORTS)
def test_service_ports(tree: Tree, name: str) -> None:
    ports = tree.get("Service", name)["spec"].get("ports", [])
    assert {port["name"]: (port["port"], port["targetPort"]) for port in ports} == PORTS[name]


@pytest.mark.parametrize("name", BEHIND)
def test_service_selects_by_the_fixed_labels_of_its_pods(tree: Tree, name: str) -> None:
    selector = tree.get("Service", name)["spec"]["selector"]
    assert selector == tree.get(*BEHIND[name])["spec"]["selector"]["matchLabels"]
    assert not RELEASE_LABELS & set(selector)


@pytest.mark.parametrize("name", BEHIND)
def test_service_ports_exist_in_the_pods(tree: Tree, name: str) -> None:
    pod = tree.pod(*BEHIND[name])
    names = {port["name"] for container in pod["containers"] for port in container.get("ports", [])}
    assert {port["targetPort"] for port in tree.get("Service", name)["spec"]["ports"]} <= names


def test_web_keeps_its_node_port(tree: Tree) -> None:
    spec = tree.get("Service", "web")["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Cluster")
    assert spec["ports"][0]["nodePort"] == 32403


def test_the_bucket_is_an_external_name_and_selects_nothing(tree: Tree) -> None:
    assert tree.get("Service", "google-storage")["spec"] == {
        "type": "ExternalName",
        "externalName": "storage.googleapis.com",
    }


@pytest.mark.parametrize(
    ("stateful_set", "service"), [("builder", "builder"), ("lookit-rabbitmq", "lookit-rabbitmq-headless")]
)
def test_stateful_set_has_its_headless_service(tree: Tree, stateful_set: str, service: str) -> None:
    governing = tree.get("Service", service)
    assert governing["spec"]["clusterIP"] == "None"
    assert tree.get("StatefulSet", stateful_set)["spec"]["serviceName"] == governing["metadata"]["name"]


def test_builder_keeps_the_service_name_that_cannot_change(tree: Tree) -> None:
    assert tree.get("StatefulSet", "builder")["spec"]["serviceName"] == "builder"


def test_nobody_scrapes_a_port_that_nobody_has(tree: Tree) -> None:
    assert "prometheus" not in tree.stdout
    assert "9419" not in tree.stdout


def route(tree: Tree, name: str) -> tuple[object, ...]:
    """Host, path, path type, backend and certificate of an Ingress that has one of each."""
    spec = tree.get("Ingress", name)["spec"]
    (rule,), (tls,) = spec["rules"], spec["tls"]
    (path,) = rule["http"]["paths"]
    service = path["backend"]["service"]
    backend = f"{service['name'].removeprefix(tree.prefix)}:{next(iter(service['port'].values()))}"
    assert tls["hosts"] == [rule["host"]]
    return rule["host"], path["path"], path["pathType"], backend, tls["secretName"]


def annotations(tree: Tree, name: str) -> dict[str, str]:
    found = tree.get("Ingress", name)["metadata"]["annotations"]
    return {key.removeprefix(NGINX): value for key, value in found.items()}


def test_everything_on_the_host_goes_to_web(tree: Tree) -> None:
    host, _ = HOSTS[tree.environment]
    assert route(tree, "web-ingress") == (host, "/", "Prefix", "web:http", "lookit-cert")
    assert annotations(tree, "web-ingress") == {
        "backend-protocol": "HTTP",
        ISSUER: f"{tree.prefix}acme-cluster-issuer",
    }


def test_media_and_static_go_to_the_bucket(tree: Tree) -> None:
    host, _ = HOSTS[tree.environment]
    path = "/(media|static)(/|$)(.*)"
    assert route(tree, "proxy-gcs-ingress") == (
        host,
        path,
        "ImplementationSpecific",
        "google-storage:443",
        "lookit-cert",
    )
    assert annotations(tree, "proxy-gcs-ingress") == {
        "use-regex": "true",
        "rewrite-target": f"/lookit-{tree.environment}/$1/$3",
        "backend-protocol": "HTTPS",
        "upstream-vhost": "storage.googleapis.com",
    }


def test_the_old_host_redirects_to_the_same_path(tree: Tree) -> None:
    host, old = HOSTS[tree.environment]
    assert route(tree, "web-secondary-domain-redirect-ingress") == (
        old,
        "/(.*)",
        "ImplementationSpecific",
        "web:http",
        "lookit-secondary-cert",
    )
    assert annotations(tree, "web-secondary-domain-redirect-ingress") == {
        "use-regex": "true",
        "rewrite-target": f"https://{host}/$1",
        "backend-protocol": "HTTP",
        ISSUER: f"{tree.prefix}acme-cluster-issuer",
    }


def test_the_class_is_stated_once(tree: Tree) -> None:
    assert {found["spec"]["ingressClassName"] for found in tree.of_kind("Ingress").values()} == {"nginx"}


def test_each_certificate_has_one_owner(tree: Tree) -> None:
    owners = [
        found["spec"]["tls"][0]["secretName"]
        for found in tree.of_kind("Ingress").values()
        if ISSUER in found["metadata"]["annotations"]
    ]
    assert sorted(owners) == ["lookit-cert", "lookit-secondary-cert"]


def test_certificates_come_from_the_real_lets_encrypt(tree: Tree) -> None:
    issuer = tree.get("ClusterIssuer", "acme-cluster-issuer")
    email, account_key = ACME[tree.environment]
    assert issuer["apiVersion"] == "cert-manager.io/v1"
    assert issuer["spec"] == {
        "acme": {
            "server": "https://acme-v02.api.letsencrypt.org/directory",
            "email": email,
            "privateKeySecretRef": {"name": account_key},
            "solvers": [{"http01": {"ingress": {"ingressClassName": "nginx"}}}],
        }
    }


@pytest.mark.parametrize(
    ("kind", "name", "component"),
    [
        ("Service", "google-storage", "cloud-storage-proxy"),
        ("Ingress", "proxy-gcs-ingress", "cloud-storage-proxy"),
        ("Ingress", "web-ingress", "web-application"),
        ("Service", "web", "web-application"),
        ("Service", "gcloud-sqlproxy", "google-cloudsql-proxy"),
        ("Service", "lookit-rabbitmq", "message-queue"),
        ("ServiceAccount", "lookit-rabbitmq", "message-queue"),
        ("ConfigMap", "lookit-rabbitmq-config", "message-queue"),
        ("ClusterIssuer", "acme-cluster-issuer", "cert-issuer"),
        ("StorageClass", "ssd", "experiment-builder"),
    ],
)
def test_objects_say_what_they_are_part_of(tree: Tree, kind: str, name: str, component: str) -> None:
    assert tree.get(kind, name)["metadata"]["labels"][LABEL + "component"] == component
