"""Which images the environments need."""

import pytest

from tasks.lib.deploy.history import Release, sound
from tasks.lib.deploy.images_in_use import images_of, in_objects, named
from tasks.lib.errors import Failure
from tasks.lib.image.reference import parse

DIGEST = "sha256:" + "1" * 64


def test_tags_and_digests_in_workloads_are_found() -> None:
    repository = parse("gcr.io/mit-lookit/lookit")
    containers = [
        {"image": f"gcr.io/mit-lookit/lookit:abc@{DIGEST}"},
        {"image": "gcr.io/mit-lookit/lookit-other:x"},
    ]
    deployment = {"kind": "", "spec": {"template": {"spec": {"containers": containers}}}}
    pod = {"kind": "Pod", "spec": {"containers": [{"image": "gcr.io/mit-lookit/lookit:def"}]}}

    assert named(in_objects([deployment, pod]), repository) == {"abc", DIGEST, "def"}


def test_running_images_are_found_after_their_tag_moved() -> None:
    ran = {"imageID": f"docker-pullable://gcr.io/mit-lookit/lookit@{DIGEST}"}
    spec = {"containers": [{"image": "gcr.io/mit-lookit/lookit"}]}
    pods = [
        {"kind": "Pod", "spec": spec, "status": {"containerStatuses": [ran]}},
        {"kind": "Pod", "spec": spec, "status": {"initContainerStatuses": None}},
    ]

    assert named(in_objects(pods), parse("gcr.io/mit-lookit/lookit")) == {"latest", DIGEST}


def test_docker_hub_s_short_names_are_found() -> None:
    assert named(["lookit/api:abc", "no name!"], parse("docker.io/lookit/api")) == {"abc"}


def test_the_images_of_a_past_release_are_found() -> None:
    past = [f"gcr.io/mit-lookit/lookit:abc@{DIGEST}", "docker.io/library/postgres:9.6"]

    assert named(past, parse("gcr.io/mit-lookit/lookit")) == {"abc", DIGEST}


def test_a_release_whose_images_cannot_be_read_stops_everything() -> None:
    past = Release(7, sound({"images": "["}), "")
    with pytest.raises(Failure, match=r"Which images release 7 in lookit runs cannot be read\.") as caught:
        images_of(past, "lookit")
    assert "kubectl -n lookit delete configmap lookit-orchestrator-release-7" in caught.value.next_step
