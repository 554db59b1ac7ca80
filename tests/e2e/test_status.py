"""What runs, and what needs attention, read from the sandbox."""

import base64
import json
import re
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.cloud import sql
from tests.certificates import certificate
from tests.deployed import deployed, workload
from tests.fault_proxy import FaultProxy
from tests.heard import until
from tests.program import Ended
from tests.sandbox_case import Case

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

INGRESS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "web"},
    "spec": {
        "ingressClassName": "nginx",
        "tls": [{"secretName": "cert", "hosts": ["example.org"]}],
        "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}},
}
# Deprecated, and served all the same.
ENDPOINTS = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "elsewhere"}, "subsets": []}


def status(case: Case, *options: str) -> Ended:
    return case.invoke("status", "--environment", "staging", *options)


def keep_certificate(case: Case, days: int) -> None:
    """A TLS Secret as cert-manager makes it."""
    pem = certificate("example.org", datetime.now(UTC) + timedelta(days=days, hours=1))
    data = {"tls.crt": base64.b64encode(pem).decode(), "tls.key": ""}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"}, "type": "kubernetes.io/tls"}
    case.api.create(f"{case.path}/secrets", {**made, "data": data})


def lists(proxy: FaultProxy) -> Counter[str]:
    """How often each collection was listed, by its path."""
    found = [re.match(r"GET (/apis?/[^?]*/[a-z]+)\?.*limit=", line) for line in proxy.requests]
    return Counter(match[1] for match in found if match)


def test_status_says_what_runs_and_what_needs_attention(
    environment: Case, proxy: FaultProxy, tmp_path: Path
) -> None:
    with environment.behind(proxy) as case:
        keep_certificate(case, days=60)
        sql.insert(case.sandbox.state.google, b"{}", "mit-lookit", case.name)
        case.hold_only(workload("web"), SERVICE, INGRESS)
        deployed(case)
        assert_all_is_well(case, tmp_path)

        case.hold_only(workload("web"), SERVICE, INGRESS, ENDPOINTS)
        deployed(case)
        break_it(case)
        proxy.requests.clear()
        found = status(case, "--exit-code")

    assert found.code == 3
    assert_all_is_told(found.stderr)
    assert set(lists(proxy).values()) == {1}, "each kind is listed once"


def break_it(case: Case) -> None:
    case.kubectl("delete", "service", "web")
    case.kubectl("delete", "secret", "cert")
    template = {"annotations": {"sandbox.lookit.org/behave": "crash-loop"}}
    patch = json.dumps({"spec": {"template": {"metadata": template}}})
    case.kubectl("patch", "deployment", "web", "-p", patch)
    until(lambda: "CrashLoopBackOff" in case.kubectl("get", "pods"))


def assert_all_is_well(case: Case, folder: Path) -> None:
    page = folder / "status.html"
    well = status(case, "--exit-code", "--html", str(page))
    assert well.code == 0, well.stderr
    assert well.stderr.startswith("Nothing needs attention.\n")
    assert "Nothing needs attention." in page.read_text()
    [one] = json.loads(status(case, "--json").stdout)
    assert (one["release"]["number"], one["drift"], one["lock"]) == (1, 0, "")
    assert one["backup"]["state"] == "SUCCESSFUL"
    assert one["certificates"][0]["days"] == 60
    assert one["version"].startswith("1.")
    [row] = one["workloads"]
    assert (row["kind"], row["name"], row["ready"], row["state"]) == ("Deployment", "web", "1/1", "ready")


def assert_all_is_told(said: str) -> None:
    attention = said.partition("==> ")[0]
    for line in (
        r"! staging: Deployment web: ./1 ready: pod web-\S+, container main: (CrashLoopBackOff|Error): ",
        r"next: ./inv app.logs web --environment staging( --previous)?; kubectl -n \S+ describe deployment web",
        r"! staging: Certificate cert for example.org: there is no Secret cert",
        r"! staging: 2 objects have drifted from release 2: .*Service web \(missing\)",
        r"next: ./inv release.status --environment staging",
        r"! staging: The manifests use v1 Endpoints, deprecated since v1.33",
    ):
        assert re.search(line, attention), (line, attention)


def test_what_cannot_be_looked_at_does_not_hide_the_rest(environment: Case) -> None:
    account = f"s{environment.name}"
    environment.sandbox.make_account(account, ["container.clusters.get"], [])

    found = environment.as_account(account).invoke("status", "--exit-code")

    assert found.code == 3
    assert "! staging: Could not look at" in found.stderr
    assert "! production: Could not look at cluster" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("options", [("--watch", "--exit-code"), ("--environment", "qa")])
def test_wrong_options_are_wrong_usage(environment: Case, options: tuple[str, ...]) -> None:
    assert environment.invoke("status", *options).code == 2


def test_watch_looks_again_until_it_is_interrupted(environment: Case) -> None:
    with environment.started("status", "--environment", "staging", "--watch") as watching:
        until(lambda: watching.said.count("==> staging") > 1)
        watching.send(signal.SIGINT)
        assert watching.end() == 130
