"""An add-on is planned, installed, looked at and upgraded in the sandbox's cluster."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployed import workload
from tests.heard import until
from tests.program import Ended
from tests.sandbox_case import Case, Sandbox, corner, merged
from tests.serving import answering

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

WEBHOOKS = "validatingwebhookconfiguration"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Installing(Case):
    """A corner whose settings know one more add-on: `probe`, in a namespace of its own."""

    manifest: str = ""
    version: str = "1.0.0"
    sha256: str = ""

    @property
    def values(self) -> dict[str, Any]:
        probe = {
            "version": self.version, "namespace": f"{self.name}-probe", "manifest": self.manifest,
            "sha256": self.sha256, "kubernetes": {"oldest": "1.30", "newest": "1.99"},
            "minor_by_minor": True, "addresses": {},
        }  # fmt: skip
        return merged(super().values, {"addons": {"probe": probe}})

    def addons(self, *options: str) -> Ended:
        return self.invoke("cluster.addons", "--environment", "staging", "--addon", "probe", *options)

    def with_version(self, version: str, folder: Path) -> "Installing":
        """The same, with the manifest of a version as the one that is wanted."""
        text = yaml.safe_dump_all(objects(self.name, version))
        (folder / f"{version}.yaml").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return replace(self, version=version, sha256=digest)


@pytest.fixture
def installing(sandbox: Sandbox, tmp_path: Path) -> Iterator[Installing]:
    handler = partial(Quiet, directory=str(tmp_path))
    with (
        corner(sandbox, tmp_path) as case,
        answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server,
    ):
        address = f"http://127.0.0.1:{server.server_address[1]}/{{version}}.yaml"
        found = Installing(case.sandbox, case.folder, case.name, manifest=address)
        try:
            yield found
        finally:
            for kind, name in (
                (WEBHOOKS, case.name),
                ("customresourcedefinition", f"probes.{case.name}.example.org"),
                ("namespace", f"{case.name}-probe"),
            ):
                case.kubectl("delete", kind, name, "--ignore-not-found", "--wait=false")


def objects(name: str, version: str) -> list[dict[str, Any]]:
    """The kinds that matter; version 1.0.0 has a ConfigMap more than the others."""
    namespace, group = f"{name}-probe", f"{name}.example.org"
    names = {"plural": "probes", "singular": "probe", "kind": "Probe", "listKind": "ProbeList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    served = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    controller = workload("controller")
    controller["metadata"]["labels"] = {"app.kubernetes.io/version": f"v{version}"}
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.org/probe"}]}
    job = {"spec": {"template": {"spec": pod}}}
    webhook = {
        "name": f"probes.{group}", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "controller", "namespace": namespace}},
        "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["*"], "resources": ["probes"]}],
    }  # fmt: skip

    def made(api: str, kind: str, metadata: dict[str, Any], **rest: Any) -> dict[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}

    return [
        made("batch/v1", "Job", {"generateName": "certificates-", "namespace": namespace}, **job),
        made("batch/v1", "Job", {"name": "t", "annotations": {"helm.sh/hook": "test"}}, **job),
        {**controller, "metadata": {**controller["metadata"], "namespace": namespace}},
        made("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", {"name": name}, webhooks=[webhook]),
        *([made("v1", "ConfigMap", {"name": "old", "namespace": namespace})] if version == "1.0.0" else []),
        made("v1", "Namespace", {"name": namespace}),
        made(
            "apiextensions.k8s.io/v1", "CustomResourceDefinition", {"name": f"probes.{group}"},
            spec={"group": group, "scope": "Namespaced", "names": names, "versions": served},
        ),
    ]  # fmt: skip


@contextmanager
def certified(case: Case) -> Iterator[None]:
    """What a Job of a real add-on does: write the authority into the webhook, once that is there."""
    authority = (case.sandbox.state.cluster("lookit-staging") / "ca.crt").read_bytes()
    patch = [
        {
            "op": "add",
            "path": "/webhooks/0/clientConfig/caBundle",
            "value": base64.b64encode(authority).decode(),
        }
    ]

    def certify() -> None:
        until(lambda: case.name in case.kubectl("get", WEBHOOKS, "-o", "name"), 120)
        case.kubectl("patch", WEBHOOKS, case.name, "--type=json", "-p", json.dumps(patch))

    thread = threading.Thread(target=certify)
    thread.start()
    yield
    thread.join()


def test_add_on_is_planned_installed_looked_at_and_upgraded(installing: Installing, tmp_path: Path) -> None:
    first = installing.with_version("1.0.0", tmp_path)
    apply_by_kubectl(first)

    planned = first.addons("--plan", "--exit-code")
    assert planned.code == 3, planned.stderr
    assert_in_order(
        planned.stderr, "definitions", "+ CustomResourceDefinition probes.", "namespaces",
        "configuration, access and webhooks", "+ ConfigMap old", "+ ValidatingWebhookConfiguration", "jobs",
        "> Job certificates-", "workloads", "~ Deployment controller (not yet managed by this tool)",
    )  # fmt: skip
    assert "Job t" not in planned.stderr

    with certified(first):
        done = first.addons("--apply", "--confirm", "staging")
    assert done.code == 0, done.stderr
    assert "probe in staging is deployed: " in done.stderr
    assert state(first) == ("1.0.0", [])
    again = first.addons("--plan", "--exit-code")
    assert (again.code, "0 to" in again.stderr) == (0, False), again.stderr

    second = first.with_version("1.1.0", tmp_path)
    done = second.addons("--apply", "--confirm", "staging")
    assert done.code == 0, done.stderr
    assert "ConfigMap old: removed" in done.stderr
    assert state(second) == ("1.1.0", [])

    refused = first.addons("--apply", "--confirm", "staging")
    assert refused.code == 1
    assert "probe 1.1.0 is installed, 1.0.0 is older: nothing was changed." in refused.stderr


def apply_by_kubectl(case: Installing) -> None:
    """The add-on's Deployment in its namespace, as an earlier installation by hand left it."""
    path = case.folder / "before.yaml"
    kinds = {"Namespace", "Deployment"}
    path.write_text(yaml.safe_dump_all(o for o in objects(case.name, "0.9.0") if o["kind"] in kinds))
    case.kubectl("create", "namespace", f"{case.name}-probe")
    case.kubectl("apply", f"--namespace={case.name}-probe", "-f", str(path))


def state(case: Installing) -> tuple[str, list[str]]:
    [found] = json.loads(case.addons("--json").stdout)
    return found["installed"], found["problems"]


def assert_in_order(text: str, *parts: str) -> None:
    places = [text.find(part) for part in parts]
    assert -1 not in places, (parts[places.index(-1)], text)
    assert places == sorted(places), text


def test_deployer_is_told_which_rights_an_add_on_takes(installing: Installing, tmp_path: Path) -> None:
    account = f"a{installing.name}"
    email = installing.sandbox.make_account(account, ["container.clusters.get"], [])
    installing.kubectl("create", "role", account, "--verb=*", "--resource=configmaps")
    installing.kubectl("create", "rolebinding", account, f"--role={account}", f"--user={email}")
    known = installing.with_version("1.0.0", tmp_path)

    refused = replace(known, account=account).addons("--plan")

    assert refused.code == 1
    assert "list deployments" in refused.stderr
