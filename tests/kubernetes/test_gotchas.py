"""The three things that the shell version's manifests made hard."""

import re
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.rendering import (
    ALL_WORKLOADS,
    APPLICATION,
    LABEL,
    RELEASE_LABELS,
    TREE,
    Object,
    Tree,
    build,
    changed_copy,
)

FIXED = {LABEL + key for key in ("name", "component", "part-of", "managed-by")}


def dangling(tree: Tree) -> list[str]:
    """References in the rendered objects to a name or key that no object has."""
    held = {
        (kind, found["metadata"]["name"]): set(found.get("data", {})) | set(found.get("stringData", {}))
        for (kind, _), found in tree.objects.items()
    }
    wanted: list[tuple[str, str, str]] = []
    for kind, name in ALL_WORKLOADS:
        wanted += of_workload(tree.get(kind, name))
    for ingress in tree.of_kind("Ingress").values():
        for rule in ingress["spec"]["rules"]:
            wanted += [("Service", path["backend"]["service"]["name"], "") for path in rule["http"]["paths"]]
        issuer = ingress["metadata"]["annotations"].get("cert-manager.io/cluster-issuer")
        wanted += [("ClusterIssuer", issuer, "")] if issuer else []
    for binding in tree.of_kind("RoleBinding").values():
        wanted.append(("Role", binding["roleRef"]["name"], ""))
        wanted += [(subject["kind"], subject["name"], "") for subject in binding["subjects"]]
    assert len(wanted) > 350, "the walk found too little to mean anything"
    return [
        f"{kind} {name} {key}".strip()
        for kind, name, key in wanted
        if (kind, name) not in held or (key and key not in held[kind, name])
    ]


def of_workload(workload: Object) -> list[tuple[str, str, str]]:
    """(kind, name, key) of everything that a workload refers to; key is empty for a whole object."""
    pod = workload["spec"]["template"]["spec"]
    wanted = (
        [("ServiceAccount", pod["serviceAccountName"], "")] if pod["serviceAccountName"] != "default" else []
    )
    if "serviceName" in workload["spec"]:
        wanted.append(("Service", workload["spec"]["serviceName"], ""))
    claims = workload["spec"].get("volumeClaimTemplates", [])
    classes = {claim["spec"]["storageClassName"] for claim in claims} - {"standard"}
    wanted += [("StorageClass", name, "") for name in classes]
    for volume in pod.get("volumes", []):
        for kind, field, name in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
            if field in volume:
                keys = [item["key"] for item in volume[field].get("items", [])]
                wanted += [(kind, volume[field][name], key) for key in keys or [""]]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        wanted += of_environment(container.get("env", []))
    return wanted


def of_environment(variables: list[Object]) -> list[tuple[str, str, str]]:
    wanted = []
    for variable in variables:
        for kind, field in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            if reference := variable.get("valueFrom", {}).get(field):
                wanted.append((kind, reference["name"], reference["key"]))
        if variable["name"] in {"RABBITMQ_HOST", "PGHOST", "K8S_SERVICE_NAME"}:
            wanted.append(("Service", variable["value"], ""))
    return wanted


# --- Convoluted vars -------------------------------------------------------------------


def test_every_reference_leads_somewhere(tree: Tree) -> None:
    assert dangling(tree) == []


def test_replacements_name_their_targets_one_by_one() -> None:
    """Kustomize 5.6 and older takes a pattern for a name, finds nothing, and builds on without a word."""
    wiring = TREE / "components" / "wiring"
    files = [
        entry["path"] for entry in yaml.safe_load((wiring / "kustomization.yaml").read_text())["replacements"]
    ]
    found = [entry for file in files for entry in yaml.safe_load((wiring / file).read_text())]
    selects = [target["select"] for entry in found for target in entry["targets"]]

    assert len(selects) > 20
    assert [text for select in selects for text in select.values() if not re.fullmatch(r"[\w-]+", text)] == []


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Staging with another prefix, host and bucket: to render takes long, so one tree has all three."""

    def move(tree: Path) -> None:
        folder = tree / "overlays" / "staging" / "prefixed"
        file = folder / "kustomization.yaml"
        file.write_text(file.read_text().replace("namePrefix: staging-", "namePrefix: trial-"))
        file = folder / "staging.properties"
        text = re.sub(r"^SITE_DOMAIN=.*$", "SITE_DOMAIN=new.example", file.read_text(), flags=re.MULTILINE)
        file.write_text(text.replace("lookit-staging/media/", "new-bucket/media/"))

    return build("staging", changed_copy(tmp_path_factory.mktemp("moved"), move), prefix="trial-")


def test_another_prefix_is_one_line_and_every_reference_follows(moved: Tree) -> None:
    assert moved.stderr == ""
    assert dangling(moved) == []
    names = {found["metadata"]["name"].partition("-")[0] for found in moved.objects.values()}
    assert names == {"trial", "builder"}


def test_another_host_and_bucket_are_said_once(moved: Tree) -> None:
    spec = moved.get("Ingress", "web-ingress")["spec"]
    assert (spec["rules"][0]["host"], spec["tls"][0]["hosts"]) == ("new.example", ["new.example"])
    target = "nginx.ingress.kubernetes.io/rewrite-target"
    redirect = moved.get("Ingress", "web-secondary-domain-redirect-ingress")
    assert redirect["metadata"]["annotations"][target] == "https://new.example/$1"
    bucket = moved.get("Ingress", "proxy-gcs-ingress")
    assert bucket["metadata"]["annotations"][target] == "/new-bucket/$1/$3"


def test_a_change_of_config_restarts_what_reads_it(staging: Tree, tmp_path: Path) -> None:
    def enlarge(tree: Path) -> None:
        file = tree / "base" / "application" / "config" / "uwsgi.ini"
        file.write_text(file.read_text().replace("harakiri = 120", "harakiri = 60"))

    changed = build("staging", changed_copy(tmp_path, enlarge))
    assert templates(changed, *APPLICATION[0][:2]) != templates(staging, *APPLICATION[0][:2])
    assert templates(changed, "StatefulSet", "lookit-rabbitmq") == templates(
        staging, "StatefulSet", "lookit-rabbitmq"
    )


def templates(tree: Tree, kind: str, name: str) -> Object:
    template: Object = tree.get(kind, name)["spec"]["template"]
    return template


# --- Patches by container index --------------------------------------------------------


def test_a_container_in_front_changes_nothing_for_the_others(staging: Tree, tmp_path: Path) -> None:
    def add_sidecars(tree: Path) -> None:
        for kind, name, _ in APPLICATION:
            file = tree / "base" / "application" / name / f"{kind.lower()}.yaml"
            text = file.read_text()
            assert text.count("      containers:\n") == 1
            sidecar = "        - {name: sidecar, image: example.org/sidecar:1.0}\n"
            file.write_text(text.replace("      containers:\n", f"      containers:\n{sidecar}"))

    changed = build("staging", changed_copy(tmp_path, add_sidecars))
    for kind, name, container in APPLICATION:
        assert changed.container(kind, name, container) == staging.container(kind, name, container)
        assert changed.container(kind, name, "sidecar") == {
            "name": "sidecar",
            "image": "example.org/sidecar:1.0",
        }
    docker = ("StatefulSet", "builder", "docker")
    assert changed.container(*docker) == staging.container(*docker)


def test_no_patch_counts_containers() -> None:
    for file in TREE.rglob("*.yaml"):
        assert not re.search(r"(containers|env|volumes|volumeMounts)[./]\d", file.read_text()), file


# --- Immutable match labels ------------------------------------------------------------


def immutable(tree: Tree) -> dict[str, object]:
    """Every field that the API server refuses to change, by where it stands."""
    found: dict[str, object] = {}
    for (kind, name), item in tree.objects.items():
        spec = item.get("spec", {})
        if kind in {"Deployment", "StatefulSet"}:
            found[f"{kind} {name} selector"] = spec["selector"]
        if kind == "StatefulSet":
            for field in ("serviceName", "podManagementPolicy", "volumeClaimTemplates"):
                found[f"{kind} {name} {field}"] = spec[field]
        if kind == "RoleBinding":
            found[f"{kind} {name} roleRef"] = item["roleRef"]
        if kind == "StorageClass":
            found[f"{kind} {name}"] = {
                key: item[key] for key in ("provisioner", "parameters", "volumeBindingMode")
            }
    return found


def test_version_b_applies_over_version_a(releases: tuple[Tree, Tree]) -> None:
    first, second = releases
    assert first.stdout != second.stdout
    assert immutable(first) == immutable(second)
    assert len(immutable(first)) == 4 + 2 * 4 + 2 + 1


def test_selectors_are_the_four_labels_that_live_clusters_have(tree: Tree) -> None:
    for kind, name in ALL_WORKLOADS:
        if kind != "Job":
            selector = tree.get(kind, name)["spec"]["selector"]
            assert set(selector) == {"matchLabels"}
            assert set(selector["matchLabels"]) == FIXED
            assert selector["matchLabels"][LABEL + "managed-by"] == "kustomize"


def test_claim_templates_carry_the_four_labels_and_never_a_version(releases: tuple[Tree, Tree]) -> None:
    for name in ("builder", "lookit-rabbitmq"):
        spec = releases[1].get("StatefulSet", name)["spec"]
        for claim in spec["volumeClaimTemplates"]:
            assert claim["metadata"]["labels"] == spec["selector"]["matchLabels"]


def test_no_service_selects_by_release(releases: tuple[Tree, Tree]) -> None:
    first, second = releases
    for name, service in second.of_kind("Service").items():
        selector = service["spec"].get("selector", {})
        assert not RELEASE_LABELS & set(selector)
        assert selector == first.get("Service", name)["spec"].get("selector", {})


def test_a_release_replaces_only_pods_of_the_application(releases: tuple[Tree, Tree]) -> None:
    first, second = releases
    replaced = {
        name for kind, name in ALL_WORKLOADS if templates(first, kind, name) != templates(second, kind, name)
    }
    assert replaced == {name for _, name, _ in APPLICATION}


def test_pods_of_the_application_say_which_release_they_are(releases: tuple[Tree, Tree]) -> None:
    for kind, name, _ in APPLICATION:
        if kind != "Job":  # a Job's pods are told apart by the Job, which is recreated for each release
            labels = templates(releases[1], kind, name)["metadata"]["labels"]
            assert labels[LABEL + "instance"] == "lookit-bbbbbbb"
            assert labels[LABEL + "version"] == "v2.0"


def test_base_and_overlays_are_plain_yaml() -> None:
    for file in TREE.rglob("*.yaml"):
        assert list(yaml.load_all(file.read_text(), yaml.CSafeLoader)), file
