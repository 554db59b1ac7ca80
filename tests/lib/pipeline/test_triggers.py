"""The commands that set Cloud Build up, exactly."""

import shlex
from pathlib import Path

import pytest

from tasks.lib.errors import Failure
from tasks.lib.pipeline import triggers
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
STAGING = SETTINGS.environment("staging")
MEMBER = "--member=serviceAccount:lookit-deploy-staging@p.iam.gserviceaccount.com"
KEY = "projects/mit-lookit-keys/locations/us-east1/keyRings/lookit-keyring/cryptoKeys/kubernetes-secrets"


def test_a_push_to_the_branch_starts_the_chain_as_an_account_of_its_own() -> None:
    assert triggers.trigger(SETTINGS, STAGING, "p") == (
        "gcloud", "builds", "triggers", "create", "github", "--project=p", "--name=lookit-staging",
        "--repo-owner=lookit", "--repo-name=lookit-api", "--branch-pattern=^develop$",
        "--inline-config=cloudbuild.yaml", "--substitutions=_ENVIRONMENT=staging",
        "--service-account=projects/p/serviceAccounts/lookit-deploy-staging@p.iam.gserviceaccount.com",
    )  # fmt: skip


def test_the_account_may_decrypt_and_not_encrypt() -> None:
    about_keys = [argv for argv in triggers.rights(SETTINGS, STAGING, "p") if argv[1] == "kms"]

    assert about_keys == [
        (
            "gcloud",
            "kms",
            "keys",
            "add-iam-policy-binding",
            KEY,
            MEMBER,
            "--role=roles/cloudkms.cryptoKeyDecrypter",
        )
    ]


def test_no_right_is_wider_than_the_chain_needs() -> None:
    roles = {
        part.removeprefix("--role=")
        for argv in triggers.commands(SETTINGS, "p")
        for part in argv
        if part.startswith("--role=")
    }

    assert roles == {
        "roles/artifactregistry.writer", "roles/cloudkms.cryptoKeyDecrypter", "roles/cloudsql.editor",
        "roles/container.clusterViewer", "roles/logging.logWriter", "roles/secretmanager.secretAccessor",
        "roles/storage.objectAdmin",
    }  # fmt: skip


def test_both_environments_are_set_up_account_first() -> None:
    made = [argv for argv in triggers.commands(SETTINGS, "p") if "create" in argv]

    assert [next(part for part in argv if part.endswith(("-staging", "-production"))) for argv in made] == [
        "lookit-deploy-staging", "--name=lookit-staging", "lookit-deploy-production", "--name=lookit-production",
    ]  # fmt: skip


def test_the_script_can_be_read_back() -> None:
    made = triggers.commands(SETTINGS, "p")

    first, *lines = triggers.as_script(made).splitlines()

    assert first == "set -eu"
    assert [tuple(shlex.split(line)) for line in lines] == made


def program(folder: Path, body: str) -> str:
    path = folder / "gcloud"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_what_is_there_already_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gcloud = program(tmp_path, 'echo "ERROR: Resource already exists" >&2; exit 1')

    triggers.apply([(gcloud, "x")], 10)

    assert "There already" in capsys.readouterr().err


def test_a_refusal_ends_it(tmp_path: Path) -> None:
    gcloud = program(tmp_path, 'echo "PERMISSION_DENIED" >&2; exit 1')

    with pytest.raises(Failure, match="failed") as raised:
        triggers.apply([(gcloud, "x"), (gcloud, "y")], 10)

    assert raised.value.why == "PERMISSION_DENIED"
