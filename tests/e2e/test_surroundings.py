"""What surrounds the pods on a real node: the database behind the Cloud SQL Auth Proxy, Cloud Storage at its own name."""

import copy
import json
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from sandbox import watching
from sandbox.images.site import commit_of
from tasks.lib import build_variables
from tasks.lib.render.rendering import render
from tasks.lib.secrets.crypt import decrypt_all
from tests.builders import ROOT
from tests.real_node import CLUSTER, SPACE, Node, real_node, wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800), pytest.mark.xdist_group("surroundings")]

KINDS = ("ConfigMap", "Secret", "ServiceAccount")
PARTS = (
    ("Service", "gcloud-sqlproxy"),
    ("Deployment", "gcloud-sqlproxy"),
    ("Job", "migration"),
    ("Job", "collectstatic"),
)
# The application's storage and requests, as its tasks use them; the second file is so large that it goes in parts.
UPLOAD = """
import django, requests
django.setup()
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
for size in (10, 9 * 2**20):
    name = storages["default"].save("upload.txt", ContentFile(bytes(size)))
    answer = requests.get(f"https://storage.googleapis.com/{settings.GS_BUCKET_NAME}/media/{name}", timeout=60)
    print(answer.status_code, len(answer.content), answer.content == storages["default"].open(name).read())
"""


class Site:
    """The parts of staging, as rendered for the sandbox, that need no broker."""

    def __init__(self, node: Node) -> None:
        self.node = node
        settings = node.sandbox.overlaid({})
        staging = settings.environment("staging")
        variables = build_variables.read(settings, staging, commit=commit_of(settings), tag="")
        rendered = render(settings, staging, variables, decrypt_all(settings, staging))
        self.documents = [copy.deepcopy(dict(one.content)) for one in rendered.documents]

    def part(self, kind: str, name: str) -> dict[str, Any]:
        return next(
            one for one in self.documents
            if one["kind"] == kind and one["metadata"]["name"].removeprefix("staging-") == name
        )  # fmt: skip

    def apply(self, *documents: dict[str, Any]) -> None:
        for one in documents:
            one["metadata"].pop("namespace", None)
        listed = {"apiVersion": "v1", "kind": "List", "items": documents}
        self.node.apply(json.dumps(listed))

    def without_broker(self, job: dict[str, Any]) -> dict[str, Any]:
        spec = job["spec"]["template"]["spec"]
        spec["initContainers"] = [
            one for one in spec["initContainers"] if one["name"] != "wait-init-rabbitmq"
        ]
        return job

    def job(self, name: str, status: str) -> bool:
        found = self.node.api.get(f"/apis/batch/v1/namespaces/{SPACE}/jobs/{name}") or {}
        return bool(found.get("status", {}).get(status))

    def ended(self, name: str) -> str:
        """The log of a Job's pod once it has succeeded."""
        wait_until(f"{name} ends", partial(self.job, name, "succeeded"), 240)
        return self.node.kubectl("logs", f"job/{name}", "--all-containers")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with real_node(tmp_path_factory.mktemp("real")) as node:
        made = Site(node)
        plain = [
            one for one in made.documents
            if one["kind"] in KINDS and one.get("type") != "kubernetes.io/service-account-token"
        ]  # fmt: skip
        made.apply(*plain, *(made.part(*one) for one in PARTS[:2]))
        yield made


def test_the_proxy_is_ready_once_it_has_reached_the_instance(site: Site) -> None:
    deployment = f"/apis/apps/v1/namespaces/{SPACE}/deployments/staging-gcloud-sqlproxy"

    wait_until("it is ready", lambda: (site.node.api.get(deployment) or {})["status"].get("readyReplicas"))

    log = site.node.kubectl("logs", "deployment/staging-gcloud-sqlproxy")
    assert "The proxy has started successfully and is ready for new connections!" in log
    assert all(json.loads(line)["severity"] == "INFO" for line in log.splitlines())


def test_the_application_migrates_its_database_through_the_proxy(site: Site) -> None:
    site.apply(site.without_broker(site.part("Job", "migration")))

    assert "Applying studies.0001_initial... OK" in site.ended("staging-migration")


def test_static_files_reach_the_bucket_at_its_real_name(site: Site) -> None:
    site.apply(site.part("Job", "collectstatic"))

    site.ended("staging-collectstatic")

    port = site.node.sandbox.port("storage")
    url = f"http://127.0.0.1:{port}/storage/v1/b/lookit-staging/o/static%2Fstudies%2Fsite.css?alt=media"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == (ROOT / "sandbox/application/studies/static/studies/site.css").read_bytes()


def test_uploads_from_a_pod_are_public_at_the_real_name(site: Site) -> None:
    job = site.without_broker(copy.deepcopy(site.part("Job", "migration")))
    job["metadata"]["name"] = "upload"
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", UPLOAD]

    site.apply(job)

    assert site.ended("upload").splitlines()[-2:] == ["200 10 True", f"200 {9 * 2**20} True"]


def test_a_new_proxy_takes_over_when_the_first_ends(site: Site) -> None:
    site.node.kubectl("rollout", "restart", "deployment/staging-gcloud-sqlproxy")
    said = site.node.kubectl("rollout", "status", "deployment/staging-gcloud-sqlproxy", "--timeout=50s")

    assert "successfully rolled out" in said


def test_status_knows_the_database(site: Site) -> None:
    known = {one.name: one.problem for one in watching.status(site.node.state)}

    assert known[f"{CLUSTER}.node-cloud-sql"] == ""
