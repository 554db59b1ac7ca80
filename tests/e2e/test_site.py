"""Lookit's site on a real node: what a rehearsal deploys is asked for its pages, also while it changes."""

import http.client
import json
import os
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import lifecycle
from sandbox.containers.place import NODE
from sandbox.images.site import commit_of
from tests import lookit_checkout, program
from tests.program import Ended
from tests.real_node import Node, real_node, wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800), pytest.mark.xdist_group("site")]

HOST, PORT = "babieshelpingscience.com", 32403
REQUESTS = 300
OTHER = "b" * 40
WORKLOADS = ("web", "worker", "beat", "builder", "lookit-rabbitmq", "gcloud-sqlproxy")


class Site:
    """The site of a sandbox's staging cluster, and the tasks that change it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def invoke(self, *arguments: str) -> Ended:
        own = {"INVOKE_SANDBOX_STATE": str(self.node.state.folder)}
        return program.inv(arguments, {**os.environ, **own})

    def answer(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """The status and the body that the node's port of the site answers with."""
        connection = http.client.HTTPConnection(self.node.place.address, PORT, timeout=60)
        connection.request(method, path, headers={"Host": HOST})
        got = connection.getresponse()
        return got.status, got.read()

    def version(self) -> dict[str, Any]:
        status, body = self.answer("/version/")
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def give_image(self, commit: str) -> None:
        lifecycle.up(self.node.sandbox.settings, ["staging"], commit=commit)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that a rehearsal has deployed."""
    with real_node(tmp_path_factory.mktemp("site")) as node:
        made = Site(node)
        done = made.invoke("rehearse", "--branch", "develop", "--containers")
        assert done.code == 0, done.stderr
        assert "done: 200 at http://" in " ".join(done.stderr.split()), done.stderr
        yield made


def test_every_workload_of_the_manifests_runs_in_containers(site: Site) -> None:
    pods = site.node.api.get("/api/v1/namespaces/default/pods")
    assert pods
    alive = [one for one in pods["items"] if "deletionTimestamp" not in one["metadata"]]
    running = [one for one in alive if one["status"]["phase"] == "Running"]

    assert {one["spec"]["nodeName"] for one in running} == {NODE}
    for name in WORKLOADS:
        of_it = [one for one in running if one["metadata"]["name"].startswith(f"staging-{name}-")]
        assert [all(c["ready"] for c in one["status"]["containerStatuses"]) for one in of_it] == [True], name


def test_the_site_reaches_database_broker_and_bucket(site: Site) -> None:
    found = site.version()

    assert found["commit"] == commit_of(site.node.sandbox.settings)
    assert found["dependencies"] == {"database": "ok", "broker": "ok", "bucket": "ok"}


def test_no_request_fails_during_a_second_release_and_its_rollback(site: Site) -> None:
    site.give_image(OTHER)
    seen: Counter[object] = Counter()
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.2) or seen.total() < REQUESTS:
            try:
                seen[site.answer("/")[0]] += 1
            except (OSError, http.client.HTTPException) as error:
                seen[repr(error)] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        second = site.invoke("deploy", "--branch", "develop", "--commit", OTHER, "--sandbox")
        after = site.version()["commit"]
        back = site.invoke("release.rollback", "--environment", "staging", "--sandbox")
    finally:
        ended.set()
        asking.join()

    assert second.code == 0, second.stderr
    assert after == OTHER
    assert back.code == 0, back.stderr
    assert site.version()["commit"] == commit_of(site.node.sandbox.settings)
    assert set(seen) == {200}
    assert seen.total() >= REQUESTS


def test_a_build_in_docker_reaches_the_bucket(site: Site) -> None:
    """A Celery task, from the page that asks for it to its file in the bucket."""
    status, body = site.answer("/builds/", "POST")
    assert status == 200, body

    wait_until("it is built", lambda: set(json.loads(site.answer("/builds/")[1]).values()) == {True}, 300)

    (study,) = json.loads(body)
    bucket = site.node.sandbox.settings.environment("staging").buckets.archives
    at = f"http://127.0.0.1:{site.node.sandbox.port('storage')}/{bucket}/experiments/{study}/index.html"
    with urllib.request.urlopen(at, timeout=30) as answer:
        assert b"assets/app-" in answer.read()


def test_a_checkout_runs_in_place_of_the_sandboxs_application(site: Site, tmp_path: Path) -> None:
    checkout = lookit_checkout.make(tmp_path / "lookit-api")

    done = site.invoke("rehearse", "--branch", "develop", "--containers", "--source", str(checkout.folder))

    assert done.code == 0, done.stderr
    assert site.version()["commit"] == checkout.head
    assert lookit_checkout.HEADING.encode() in site.answer("/")[1]
    messages = (
        "exec",
        "--namespace=default",
        "deploy/staging-web",
        "--",
        "ls",
        "/code/locale/es/LC_MESSAGES",
    )
    assert "django.mo" in site.node.kubectl(*messages)
