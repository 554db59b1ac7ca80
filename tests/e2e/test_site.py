"""Lookit's site on a real node: what a rehearsal deploys is asked for its pages, also while it changes."""

import json
import re
from pathlib import Path

import pytest

from sandbox.containers.place import NODE
from sandbox.images.recipes import APPLICATION
from tests import lookit_checkout
from tests.real_node import wait_until
from tests.real_site import Site

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800), pytest.mark.xdist_group("site")]

BUCKET = "https://storage.googleapis.com/lookit-staging"
REQUESTS = 300
OTHER = "b" * 40
WORKLOADS = ("web", "worker", "beat", "builder", "lookit-rabbitmq", "gcloud-sqlproxy")


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
    assert site.version()["dependencies"] == {"database": "ok", "broker": "ok", "bucket": "ok"}


def test_no_request_fails_during_a_second_release_and_its_rollback(site: Site) -> None:
    before = site.version()["commit"]
    site.give_image(OTHER)

    with site.asked(REQUESTS) as seen:
        second = site.deploy(OTHER)
        after = site.version()["commit"]
        back = site.invoke("release.rollback", "--environment", "staging")

    assert second.code == 0, second.stderr
    assert after == OTHER
    assert back.code == 0, back.stderr
    assert site.version()["commit"] == before
    assert set(seen) == {200}
    assert seen.total() >= REQUESTS


def test_a_build_in_docker_reaches_the_bucket(site: Site) -> None:
    """A Celery task, from the page that asks for it to its file in the bucket."""
    status, body = site.answer("/builds/", "POST")
    assert status == 200, body

    wait_until("it is built", lambda: set(json.loads(site.answer("/builds/")[1]).values()) == {True}, 300)

    (study,) = json.loads(body)
    assert "assets/app-" in site.fetched(f"{BUCKET}/experiments/{study}/index.html")


def test_the_page_finds_its_static_files_in_the_bucket(site: Site) -> None:
    (address,) = re.findall('href="([^"]+)"', site.answer("/")[1].decode())

    assert address == f"{BUCKET}/static/studies/site.css"
    assert (
        site.fetched(address).strip() == (APPLICATION / "studies/static/studies/site.css").read_text().strip()
    )


def test_a_checkout_runs_in_place_of_the_sandboxs_application(site: Site, tmp_path: Path) -> None:
    checkout = lookit_checkout.make(tmp_path / "lookit-api")

    done = site.invoke("rehearse", "--branch", "develop", "--containers", "--source", str(checkout.folder))

    assert done.code == 0, done.stderr
    assert site.version()["commit"] == checkout.head
    assert lookit_checkout.HEADING.encode() in site.answer("/")[1]
    catalogue = site.run("deployment/staging-web", "uwsgi", "ls", "/code/locale/es/LC_MESSAGES")
    assert "django.mo" in catalogue
