"""Lookit's site on a real node: what a rehearsal deploys is asked for its pages, also while it changes."""

import json
import re
from functools import partial
from pathlib import Path

import pytest

from sandbox.containers.place import NODE
from sandbox.images.recipes import APPLICATION
from tests import lookit_checkout
from tests.real_node import wait_until
from tests.real_site import IN, Site

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600), pytest.mark.xdist_group("site")]

BUCKET = "https://storage.googleapis.com/lookit-staging"
REQUESTS = 300
WORKLOADS = ("web", "worker", "beat", "builder", "lookit-rabbitmq", "gcloud-sqlproxy")


def test_every_workload_of_the_manifests_runs_in_containers(site: Site) -> None:
    for name in WORKLOADS:
        wait_until(f"{name} is ready", partial(site.is_ready, name))
    running = [one for name in WORKLOADS for one in site.pods_of(name)]

    assert {one["spec"]["nodeName"] for one in running} == {NODE}


def test_the_site_reaches_database_broker_and_bucket(site: Site) -> None:
    assert site.version()["dependencies"] == {"database": "ok", "broker": "ok", "bucket": "ok"}


def test_no_request_fails_while_a_checkout_is_released_and_rolled_back(site: Site, tmp_path: Path) -> None:
    before = site.version()["commit"]
    checkout = lookit_checkout.make(tmp_path / "lookit-api")
    rehearse = ("rehearse", "--branch", "develop", "--containers", "--source", str(checkout.folder))

    with site.asked(REQUESTS) as seen:
        released = site.invoke(*rehearse)
        assert released.code == 0, released.stderr
        site.comes_to_run(checkout.head)
        page = site.answer("/")[1]
        catalogue = site.run("web", "uwsgi", "ls", "/code/locale/es/LC_MESSAGES")
        back = site.invoke("release.rollback", *IN)

    assert lookit_checkout.HEADING.encode() in page
    assert "django.mo" in catalogue
    assert back.code == 0, back.stderr
    site.comes_to_run(before)
    assert set(seen) == {200}
    assert seen.total() >= REQUESTS


def test_a_build_in_docker_reaches_the_bucket(site: Site) -> None:
    """A Celery task, from the page that asks for it to its file in the bucket."""
    status, body = site.answer("/builds/", "POST")
    assert status == 200, body

    wait_until("it is built", lambda: set(json.loads(site.answer("/builds/")[1]).values()) == {True})

    (study,) = json.loads(body)
    assert "assets/app-" in site.fetched(f"{BUCKET}/experiments/{study}/index.html")


def test_the_page_finds_its_static_files_in_the_bucket(site: Site) -> None:
    (address,) = re.findall('href="([^"]+)"', site.answer("/")[1].decode())

    assert address == f"{BUCKET}/static/studies/site.css"
    assert (
        site.fetched(address).strip() == (APPLICATION / "studies/static/studies/site.css").read_text().strip()
    )
