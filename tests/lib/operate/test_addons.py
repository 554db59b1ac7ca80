"""Add-ons: the manifest with its digest, what is installed, and what an upgrade has to mind."""

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.deploy.objects import Wanted, ref_of
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.steps import Action, Step
from tasks.lib.errors import Failure, UsageError
from tasks.lib.operate.addons import install, installed, manifest, overview
from tasks.lib.operate.addons.installed import Installed
from tasks.lib.settings.model import Settings
from tests.builders import invoke_yaml, settings_in
from tests.serving import answering

NAME = "cert-manager"
MANIFEST = """\
# Copyright
---
apiVersion: v1
kind: Namespace
metadata: {name: cert-manager}
---
apiVersion: v1
kind: Service
metadata: {name: lb, namespace: cert-manager}
spec: {type: LoadBalancer}
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "1.21.2.yaml").write_text(MANIFEST)
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}/{{version}}.yaml"


def settings(root: Path, address: str, sha256: str = "", **more: Any) -> Settings:
    values = {**invoke_yaml()["addons"][NAME], "manifest": address, "sha256": sha256, **more}
    return settings_in(root, {"addons": {NAME: values}})


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_manifest_is_fetched_once(served: str, tmp_path: Path) -> None:
    known = settings(tmp_path, served, digest(MANIFEST))
    environment = known.environment("staging")

    first = manifest.contents(known, environment, NAME)
    away = settings(tmp_path, "http://127.0.0.1:9/{version}", digest(MANIFEST))
    second = manifest.contents(away, environment, NAME)

    assert [one["kind"] for one in first] == ["Namespace", "Service"]
    assert second == first


def test_damaged_copy_is_fetched_again(served: str, tmp_path: Path) -> None:
    known = settings(tmp_path, served, digest(MANIFEST))
    manifest.contents(known, known.environment("staging"), NAME)
    [kept] = (tmp_path / manifest.KEPT).iterdir()
    kept.write_text("kind: Other")

    assert len(manifest.contents(known, known.environment("staging"), NAME)) == 2


@pytest.mark.parametrize(
    ("sha256", "what", "next_step"),
    [
        ("", "The digest of cert-manager 1.21.2 is not known yet", f"sha256: {digest(MANIFEST)}"),
        (
            "0" * 64,
            "The manifest of cert-manager 1.21.2 is not the expected one",
            "addons.cert-manager.sha256",
        ),
    ],
    ids=["unknown", "another"],
)
def test_manifest_without_its_digest_is_not_used(
    served: str, tmp_path: Path, sha256: str, what: str, next_step: str
) -> None:
    known = settings(tmp_path, served, sha256)

    with pytest.raises(Failure) as refused:
        manifest.contents(known, known.environment("staging"), NAME)

    assert refused.value.what.startswith(what)
    assert digest(MANIFEST) in refused.value.why
    assert next_step in refused.value.next_step
    assert not (tmp_path / manifest.KEPT).exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [("http://127.0.0.1:9/", "refused"), ("/absent", "answered 404")],
    ids=["away", "missing"],
)
def test_unreachable_manifest_names_its_address(served: str, tmp_path: Path, address: str, why: str) -> None:
    at = address if address.startswith("http") else served.replace("/{version}.yaml", address)
    known = settings(tmp_path, at, digest(MANIFEST))

    with pytest.raises(Failure) as refused:
        manifest.contents(known, known.environment("staging"), NAME)

    assert refused.value.what == f"{at} could not be fetched."
    assert why in refused.value.why
    assert f"copy the file to {tmp_path / manifest.KEPT}" in refused.value.next_step


def test_load_balancer_gets_the_address_of_the_environment(served: str, tmp_path: Path) -> None:
    known = settings(tmp_path, served, digest(MANIFEST), addresses={"staging": "192.0.2.7"})

    one, other = (manifest.contents(known, known.environment(e), NAME)[1] for e in ("staging", "production"))

    assert (one["spec"].get("loadBalancerIP"), other["spec"].get("loadBalancerIP")) == ("192.0.2.7", None)


def job(name: str, hook: str = "", **metadata: str) -> str:
    notes = f"annotations: {{helm.sh/hook: '{hook}'}}" if hook else "labels: {}"
    return f"apiVersion: batch/v1\nkind: Job\nmetadata: {{{name}, {notes}}}\n---\n"


def test_hooks_of_no_installation_are_left_out() -> None:
    text = job("name: a", "post-install,post-upgrade") + job("name: b", "test") + job("name: c", "pre-delete")

    assert [one["metadata"]["name"] for one in manifest.objects(text, NAME)] == ["a"]


def test_generated_name_changes_only_with_the_content() -> None:
    first, again = (manifest.objects(job("generateName: check-"), NAME)[0] for _ in range(2))
    other = manifest.objects(job("generateName: check-", "post-install"), NAME)[0]

    assert first["metadata"]["name"].startswith("check-")
    assert "generateName" not in first["metadata"]
    assert first["metadata"]["name"] == again["metadata"]["name"] != other["metadata"]["name"]


def test_page_instead_of_a_manifest_is_refused() -> None:
    with pytest.raises(Failure, match="something else than objects"):
        manifest.objects("error: not found\n", NAME)


def test_phases_follow_what_each_needs() -> None:
    text = job("name: certificates") + job("name: check", "post-install")
    kinds = ("Deployment", "ValidatingWebhookConfiguration", "CustomResourceDefinition", "Namespace", "Role")
    contents = [*manifest.objects(text, NAME), *({"kind": kind, "metadata": {"name": "x"}} for kind in kinds)]

    found = {phase.title: phase.objects for phase in install.phases(contents)}

    assert list(found) == [
        "definitions", "namespaces", "configuration, access and webhooks", "jobs", "workloads", "checks",
    ]  # fmt: skip
    assert found["configuration, access and webhooks"] == ["Role", "ValidatingWebhookConfiguration"]
    assert found["checks"] == ["Job/check"]


def deployment(
    version: str = "", image: str = "example.org/controller:v0.15.0", **notes: str
) -> dict[str, Any]:
    labels = {installed.VERSION: version} if version else {}
    spec = {"template": {"spec": {"containers": [{"image": image}]}}}
    return {"metadata": {"name": "x", "labels": labels, "annotations": notes}, "spec": spec}


@pytest.mark.parametrize(
    ("workloads", "version"),
    [
        ([deployment("v1.21.2"), deployment("v1.21.2")], "1.21.2"),
        ([deployment("1.9.3"), deployment("1.10.0")], "1.10.0"),
        ([deployment()], "0.15.0"),
        ([deployment(image="example.org/controller@sha256:" + "0" * 64)], ""),
    ],
    ids=["label", "newest of several", "tag of the image", "none"],
)
def test_version_is_read_from_workloads(workloads: list[dict[str, Any]], version: str) -> None:
    assert installed.version_of(workloads) == version


@pytest.mark.parametrize(
    ("clients", "trusted"),
    [
        ([{"service": {}, "caBundle": "Q0E="}, {"url": "https://example.org"}], True),
        ([{"service": {"name": "a"}, "caBundle": "Q0E="}, {"service": {"name": "b"}}], False),
    ],
    ids=["all", "one without"],
)
def test_webhooks_are_ready_with_their_authority(clients: list[dict[str, Any]], trusted: bool) -> None:
    assert installed.is_trusted({"webhooks": [{"clientConfig": one} for one in clients]}) is trusted


def test_downgrade_is_refused(tmp_path: Path) -> None:
    addon = settings(tmp_path, "http://x").addons[NAME]
    installed.require_no_downgrade(NAME, Installed("1.21.2"), addon)
    installed.require_no_downgrade(NAME, Installed(), addon)

    with pytest.raises(Failure, match="cert-manager 1.21.10 is installed, 1.21.2 is older"):
        installed.require_no_downgrade(NAME, Installed("1.21.10"), addon)


@pytest.mark.parametrize(
    ("there", "kubernetes", "expected"),
    [
        (Installed("1.20.4"), "v1.34.1-gke.100", []),
        (Installed(), "", []),
        (Installed("1.18.0"), "1.34", ["Set addons.cert-manager.version to 1.19.x first."]),
        (Installed("0.15.0"), "1.34", []),
        (
            Installed(),
            "1.37.0",
            ["cert-manager 1.21.2 supports Kubernetes 1.33 to 1.36; the cluster has 1.37."],
        ),
        (Installed("1.21.2", releases=["cm"]), "1.34", ["delete secret -l owner=helm,name=cm"]),
    ],
    ids=["next minor", "new", "skip", "before 1", "Kubernetes too new", "by Helm"],
)
def test_upgrade_says_what_to_mind(
    tmp_path: Path, there: Installed, kubernetes: str, expected: list[str]
) -> None:
    addon = settings(tmp_path, "http://x").addons[NAME]

    found = installed.notes(NAME, there, addon, kubernetes)

    assert len(found) == len(expected)
    assert all(end in note for note, end in zip(found, expected, strict=True))


def planned(live: dict[str, Any], wanted: dict[str, Any]) -> Planned:
    named = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lb", "namespace": "n"}}
    body = {**named, "spec": {"type": "LoadBalancer", **wanted}}
    step = Step(Wanted(ref_of(body), body), Action.CHANGE, "", body, {**named, "spec": live})
    return Planned((("configuration", (step,)),), {}, {})


def test_static_address_is_never_taken_away(tmp_path: Path) -> None:
    request = install.Request(settings(tmp_path, "http://x").environment("staging"), NAME, [])
    install.require_addresses(
        planned({"loadBalancerIP": "192.0.2.7"}, {"loadBalancerIP": "192.0.2.8"}), request
    )
    install.require_addresses(planned({}, {}), request)

    with pytest.raises(Failure, match=r"would lose its static address 192\.0\.2\.7") as refused:
        install.require_addresses(planned({"loadBalancerIP": "192.0.2.7"}, {}), request)

    assert "addons.cert-manager.addresses.staging: 192.0.2.7" in refused.value.next_step


def test_unknown_add_on_is_refused_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no add-on 'nginx'") as refused:
        settings(tmp_path, "http://x").chosen_addons(["nginx"])

    assert refused.value.why == "Known add-ons: ingress-nginx, cert-manager."


def test_confirmation_names_the_environment(tmp_path: Path) -> None:
    environment = settings(tmp_path, "http://x").environment("staging")

    with pytest.raises(UsageError, match="--confirm production is not the environment staging"):
        overview.approval(environment, "production")
    with pytest.raises(UsageError, match="Cannot prompt") as refused:
        overview.approval(environment, "")

    assert refused.value.next_step == "Add --confirm staging to apply it."
