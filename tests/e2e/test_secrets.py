"""Secrets in a whole deploy: a key that was revoked and a key that rotates."""

import json

import pytest

from tests.own_key import OwnKey
from tests.sandbox_case import Case

pytestmark = pytest.mark.e2e


@pytest.fixture
def corner(environment: Case) -> OwnKey:
    made = OwnKey(environment.sandbox, environment.folder, environment.name)
    made.seal()
    return made


def applied(corner: OwnKey) -> list[str]:
    """Names of what lies in the namespace besides what Kubernetes puts there."""
    found = corner.api.get(f"{corner.path}/configmaps") or {"items": []}
    return [
        item["metadata"]["name"] for item in found["items"] if item["metadata"]["name"] != "kube-root-ca.crt"
    ]


def test_a_revoked_key_stops_the_deploy_before_anything_is_applied(corner: OwnKey) -> None:
    corner.administer().update_crypto_key_version(
        crypto_key_version={"name": f"{corner.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    done = corner.invoke("deploy", "--branch", corner.name)
    assert done.returncode == 1, done.stderr
    assert f"Version 1 of the key key-{corner.name} is disabled." in done.stderr
    assert f"gcloud kms keys versions enable 1 --key key-{corner.name}" in done.stderr
    assert "Traceback" not in done.stderr
    assert applied(corner) == []


def test_after_a_rotation_the_old_version_is_unused(corner: OwnKey) -> None:
    rotated = corner.invoke("secrets.rotate", "--environment", corner.name, "--new-version")
    assert rotated.returncode == 0, rotated.stderr
    corner.administer().update_crypto_key_version(
        crypto_key_version={"name": f"{corner.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    verified = corner.invoke("secrets.verify", "--environment", corner.name, "--json")
    assert verified.returncode == 0, verified.stderr
    assert {verdict["state"] for verdict in json.loads(verified.stdout)} == {"good"}


def test_the_guard_looks_for_every_value_and_passes_this_repository(corner: OwnKey) -> None:
    """Among them what every service account's key holds, and names of buckets and hosts."""
    done = corner.invoke("secrets.check")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("No plaintext secret in ")
