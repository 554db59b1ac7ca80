"""Secrets in a whole deploy: a key that was revoked, a key that rotates, and a canary that stays unseen."""

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.lib.redaction import Secret
from tasks.lib.sandbox.seed import make_keys, placeholder
from tasks.lib.secrets.encryption import encrypt_all
from tasks.lib.secrets.identities import as_encrypter
from tasks.lib.settings.model import Settings
from tests.builders import ROOT
from tests.canary import Canary, watched_processes, workspaces
from tests.sandbox_case import Case, merged

pytestmark = pytest.mark.e2e
CANARY = Canary("canary-e2e-Zq8-never-to-be-seen")


class OwnKey(Case):
    """A corner whose environment has a name, encrypted files and a KMS key of its own."""

    @cached_property
    def values(self) -> dict[str, Any]:
        staging = yaml.safe_load((ROOT / "invoke.yaml").read_text())["environments"]["staging"]
        corner = super().values
        own = merged(merged(staging, corner["environments"]["staging"]), {"branch": self.name})
        own["secrets"]["files"] = dict.fromkeys(own["secrets"]["files"], f"key-{self.name}")
        return {**corner, "environments": {self.name: own}}

    @cached_property
    def settings(self) -> Settings:
        found = super().settings
        environment = found.environments[self.name]
        ciphertexts = str(self.sandbox.state.ciphertexts(self.name))
        sealed = replace(environment, secrets=replace(environment.secrets, ciphertexts=ciphertexts))
        return replace(found, environments={**found.environments, self.name: sealed})

    @property
    def key(self) -> str:
        return self.settings.kms.key_name(f"key-{self.name}")

    def seal(self, **instead: Secret) -> None:
        """Encrypt placeholders for every file, `instead` for those named."""
        owner = as_encrypter(self.settings)
        environment = owner.environment(self.name)
        make_keys(owner, {f"key-{self.name}"})
        lists = self.tree / "overlays" / "staging" / "secrets"
        plaintexts = {name: placeholder(lists / f"{name}.expected") for name in environment.secrets.files}
        encrypt_all(owner, environment, {**plaintexts, **instead})

    def administer(self) -> Any:
        """The key owner's client."""
        from tasks.lib.sandbox.seed import _administration

        return _administration(as_encrypter(self.settings))


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


def test_a_key_rotates_and_the_old_version_is_needed_no_more(corner: OwnKey) -> None:
    rotated = corner.invoke("secrets.rotate", "--environment", corner.name, "--new-version")
    assert rotated.returncode == 0, rotated.stderr
    corner.administer().update_crypto_key_version(
        crypto_key_version={"name": f"{corner.key}/cryptoKeyVersions/1", "state": "DISABLED"},
        update_mask={"paths": ["state"]},
    )
    verified = corner.invoke("secrets.verify", "--environment", corner.name, "--json")
    assert verified.returncode == 0, verified.stderr
    assert {verdict["state"] for verdict in json.loads(verified.stdout)} == {"good"}


def test_a_deploy_shows_no_secret_anywhere(corner: OwnKey, tmp_path: Path) -> None:
    expected = corner.tree / "overlays/staging/secrets/lookit-secrets.env.expected"
    keys = [line for line in expected.read_text().split() if line.endswith("=")]
    corner.seal(**{"lookit-secrets.env": Secret("".join(f"{key}{CANARY.value}\n" for key in keys).encode())})
    folders = [tmp_path / "tmp", tmp_path / "cache"]
    for folder in folders:
        folder.mkdir()
    with watched_processes(CANARY) as seen:
        done = corner.invoke(
            "deploy", "--branch", corner.name, TMPDIR=str(folders[0]), XDG_CACHE_HOME=str(folders[1])
        )
    assert done.returncode == 0, done.stderr
    assert seen.looks > 0
    assert seen.places == set()
    assert not CANARY.is_in((done.stdout + done.stderr).encode())
    assert CANARY.files_below([tmp_path, ROOT / "build", *workspaces()]) == []
    for kind in ("configmaps", "events"):
        assert not CANARY.is_in(json.dumps(corner.api.get(f"{corner.path}/{kind}")).encode())
    secrets = (corner.api.get(f"{corner.path}/secrets") or {"items": []})["items"]
    holders = {item["metadata"]["name"] for item in secrets if CANARY.is_in(json.dumps(item).encode())}
    assert {name.rsplit("-", 1)[0] for name in holders} == {f"{corner.name}-lookit-secrets"}
    assert not any(CANARY.is_in(json.dumps(item["metadata"]).encode()) for item in secrets)
