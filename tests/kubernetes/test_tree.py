"""The tree as a whole: it builds by itself, and holds what it should and no more."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tasks.lib.errors import Failure
from tasks.lib.render.documents import Document
from tasks.lib.render.validation import validate
from tests.kubernetes.rendering import LABEL, RELEASE_LABELS, ROOT, TREE, Tree, build

OBJECTS = {
    "Deployment": "web beat worker gcloud-sqlproxy",
    "StatefulSet": "builder lookit-rabbitmq",
    "Job": "migration collectstatic",
    "Service": "web gcloud-sqlproxy lookit-rabbitmq lookit-rabbitmq-headless google-storage builder",
    "Ingress": "web-ingress proxy-gcs-ingress web-secondary-domain-redirect-ingress",
    "ConfigMap": "lookit-configmap lookit-rabbitmq-config lookit-rabbitmq-healthchecks",
    "Secret": "lookit-secrets cloudsql-instance-credentials lookit-rabbitmq rollout-waiter-token",
    "ServiceAccount": "rollout-waiter lookit-rabbitmq",
    "Role": "deployment-statefulset-reader lookit-rabbitmq-endpoint-reader",
    "RoleBinding": "rollout-waiter-binding lookit-rabbitmq-endpoint-reader",
    "StorageClass": "ssd",
    "ClusterIssuer": "acme-cluster-issuer",
}
CLUSTER_WIDE = {"StorageClass", "ClusterIssuer"}
GENERATED = [
    ("ConfigMap", "lookit-configmap"),
    ("ConfigMap", "lookit-rabbitmq-config"),
    ("ConfigMap", "lookit-rabbitmq-healthchecks"),
    ("Secret", "lookit-secrets"),
    ("Secret", "cloudsql-instance-credentials"),
    ("Secret", "lookit-rabbitmq"),
]
KUSTOMIZATIONS = sorted(TREE.rglob("kustomization*.yaml"))


def test_builds_without_a_word_of_warning(tree: Tree) -> None:
    assert tree.stderr == ""


def test_builds_the_same_bytes_twice(staging: Tree) -> None:
    assert build("staging").stdout == staging.stdout


def test_holds_exactly_the_objects_of_lookit(tree: Tree) -> None:
    expected = {(kind, name) for kind, names in OBJECTS.items() for name in names.split()}
    assert set(tree.objects) == expected
    assert len(expected) == 32


def test_every_name_has_the_prefix_but_the_service_that_cannot(tree: Tree) -> None:
    without = [
        key for key, found in tree.objects.items() if not found["metadata"]["name"].startswith(tree.prefix)
    ]
    assert without == [("Service", "builder")]


def test_everything_that_can_be_in_a_namespace_is_in_default(tree: Tree) -> None:
    for (kind, name), found in tree.objects.items():
        expected = None if kind in CLUSTER_WIDE else "default"
        assert found["metadata"].get("namespace") == expected, (kind, name)


@pytest.mark.parametrize(("kind", "name"), GENERATED)
def test_names_of_config_and_secrets_follow_their_content(tree: Tree, kind: str, name: str) -> None:
    real = tree.real_name(kind, name)
    assert len(real) == len(f"{tree.prefix}{name}-0123456789"), real


def test_every_object_says_whose_it_is(tree: Tree) -> None:
    for key, found in tree.objects.items():
        labels = found["metadata"]["labels"]
        assert (labels[LABEL + "part-of"], labels[LABEL + "managed-by"]) == ("lookit", "kustomize"), key


def test_every_object_keeps_to_the_schema(tree: Tree) -> None:
    documents = [Document("", found) for found in tree.objects.values()]

    # cert-manager's kind has no published schema; test_network looks at it.
    assert validate(documents, "1.36") == ["ClusterIssuer (cert-manager.io/v1)"]


def test_the_schema_check_sees_a_misspelt_field(tree: Tree) -> None:
    web = tree.get("Deployment", "web")
    misspelt = Document("", {**web, "spec": {**web["spec"], "replica": 1}})

    with pytest.raises(Failure) as caught:
        validate([misspelt], "1.36")

    assert "'replica' was unexpected" in caught.value.why


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=lambda file: str(file.relative_to(TREE)))
def test_no_kustomization_uses_what_kustomize_has_given_up(file: Path) -> None:
    deprecated = {
        "bases", "commonLabels", "configurations", "crds", "imageTags", "patchesJson6902",
        "patchesStrategicMerge", "vars",
    }  # fmt: skip
    found = yaml.safe_load(file.read_text())
    assert not deprecated & set(found)
    assert found["kind"] in {"Kustomization", "Component"}


def test_no_deprecated_field_or_label_is_left(tree: Tree) -> None:
    for word in ("beta.kubernetes.io", "kubernetes.io/gce-pd", "kubernetes.io/ingress.class", "extensions"):
        assert word not in tree.stdout, word


def test_release_template_and_default_differ_in_values_only() -> None:
    folder = TREE / "components" / "release"
    template = (folder / "kustomization.template.yaml").read_text()
    # The longest first: the SHA's place is part of none of the others.
    for variable, value in {
        '"lookit-$SHORT_SHA"': '"lookit-unreleased"',
        '"$COMMIT_SHA"': '"unreleased"',
        '"$TAG_NAME"': '"unreleased"',
        '"$IMAGE_REPOSITORY"': '"gcr.io/mit-lookit/lookit"',
    }.items():
        assert template.count(variable) == 1
        template = template.replace(variable, value)
    assert template == (folder / "kustomization.yaml").read_text()


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_secret_template_and_default_differ_in_their_files_only(environment: str) -> None:
    folder = TREE / "overlays" / environment / "secrets"
    real, default = (
        yaml.safe_load((folder / name).read_text())
        for name in ("kustomization.template.yaml", "kustomization.yaml")
    )
    for generator in real["secretGenerator"]:
        if "envs" in generator:
            generator["envs"] = [f"{name}.expected" for name in generator["envs"]]
        if "files" in generator:
            generator["files"] = [f"{name}={name}.expected" for name in generator["files"]]
    assert real == default


def test_a_release_fills_in_image_and_labels(releases: tuple[Tree, Tree]) -> None:
    released = releases[0]
    uwsgi = released.container("Deployment", "web", "uwsgi")
    assert uwsgi["image"] == "gcr.io/mit-lookit/lookit:12345678e0" + "0" * 30
    labels = released.get("Deployment", "web")["spec"]["template"]["metadata"]["labels"]
    assert {labels[name] for name in RELEASE_LABELS} == {"lookit-1234567", "1.10"}


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_git_keeps_lists_and_ciphertext_and_refuses_plaintext(environment: str) -> None:
    folder = f"kubernetes/overlays/{environment}/secrets"
    plain = ["lookit-secrets.env", "lookit-rabbitmq.env", "googleAppCreds.json", "cloudsql-client-creds.json"]
    kept = ["kustomization.yaml", "kustomization.template.yaml"]
    kept += [f"{name}.{ending}" for name in plain for ending in ("expected", "enc")]
    asked = [f"{folder}/{name}" for name in plain + kept]
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", *asked], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.stdout.split() == [f"{folder}/{name}" for name in plain]
