"""What others wrote commands nothing: refused on the command line, where a person would meet it."""

import json
from pathlib import Path

import pytest
import yaml

from tests.builders import invoke_yaml
from tests.program import Here

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("service", ["CONTAINER", "SECRET_MANAGER", "SQL_ADMIN", "STORAGE"])
def test_a_service_s_address_without_tls_is_refused(here: Here, service: str) -> None:
    done = here.inv("settings", **{f"INVOKE_GOOGLE_{service}": "http://storage.example.org"})

    assert done.code == 2
    assert f"google.{service.lower()} is 'http://storage.example.org'" in done.stderr
    assert "https://" in done.stderr


def test_template_links_out_of_the_tree_are_not_rendered(here: Here, tmp_path: Path) -> None:
    outside, tree = tmp_path / "host-file", tmp_path / "tree"
    outside.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: canary}\n")
    tree.mkdir()
    (tree / "kustomization.yaml").write_text("resources: [leak.yaml]\n")
    (tree / "leak.template.yaml").symlink_to(outside)
    staging = invoke_yaml()["environments"]["staging"]
    lab = {**staging, "branch": "lab", "overlay": ".", "secrets": {**staging["secrets"], "ciphertexts": ""}}
    settings = {"kustomize": {"tree": str(tree)}, "environments": {"lab": lab}}
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump(settings))

    done = here.inv(
        "-f", str(tmp_path / "lab.yaml"), "render", "--environment", "lab", "--commit", SHA, "--tag", "v1"
    )

    assert (done.code, done.stdout) == (2, "")
    assert f"leak.template.yaml: a link to {outside}, outside the tree" in done.stderr


def test_doctor_lists_the_images_that_others_can_move(here: Here, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.json")

    done = here.inv("doctor", "--environment", "staging", "--json", GOOGLE_APPLICATION_CREDENTIALS=absent)

    [found] = [one for one in json.loads(done.stdout) if one["subject"] == "build images"]
    assert found["state"] == "note"
    assert "cloudbuild.yaml: gcr.io/$PROJECT_ID/lookit-orchestrator:stable" in found["detail"]


def test_untrusted_releases_are_accepted_on_a_terminal_only(here: Here) -> None:
    done = here.inv("release.rollback", "--environment", "staging", "--to", "1", "--accept-unsealed")

    assert done.code == 2
    assert "Cannot prompt for --accept-unsealed: stdin is not a terminal." in done.stderr
