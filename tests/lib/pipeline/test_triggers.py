"""The commands that set Cloud Build up, exactly."""

import re
import shlex
from pathlib import Path

import pytest

from sandbox.cloud.accounts import DEPLOYER_PERMISSIONS
from tasks.lib.deploy.backup import cloud_sql
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.pipeline import triggers
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
STAGING = SETTINGS.environment("staging")
MEMBER = "--member=serviceAccount:lookit-deploy-staging@p.iam.gserviceaccount.com"
KEY = "projects/mit-lookit-keys/locations/us-east1/keyRings/lookit-keyring/cryptoKeys/kubernetes-secrets"


def test_the_trigger_uses_its_own_account() -> None:
    assert triggers.trigger(SETTINGS, STAGING, "p") == (
        "gcloud", "builds", "triggers", "create", "github", "--project=p", "--name=lookit-staging",
        "--repo-owner=lookit", "--repo-name=lookit-api", "--branch-pattern=^develop$",
        "--inline-config=cloudbuild.yaml", "--substitutions=_ENVIRONMENT=staging",
        "--service-account=projects/p/serviceAccounts/lookit-deploy-staging@p.iam.gserviceaccount.com",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("branch", "pattern"),
    [("release-1.2", r"^release-1\.2$"), ("c++/(new)", r"^c\+\+/\(new\)$"), ("a$|b_{c}", r"^a\$\|b_\{c\}$")],
)
def test_a_branch_is_no_regular_expression(branch: str, pattern: str) -> None:
    settings = checked_in_settings(environments={"staging": {"branch": branch}})

    argv = triggers.trigger(settings, settings.environment("staging"), "p")

    assert f"--branch-pattern={pattern}" in argv
    assert re.fullmatch(pattern, branch)


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


@pytest.mark.parametrize(
    "url", ["git@github.com:lookit/lookit-api.git", "https://github.com/lookit/lookit-api/"]
)
def test_the_repository_may_be_spelled_as_git_takes_it(url: str) -> None:
    settings = checked_in_settings(source={"repository": url})

    made = triggers.trigger(settings, STAGING, "p")

    assert {"--repo-owner=lookit", "--repo-name=lookit-api"} <= set(made)


def test_no_right_is_wider_than_the_chain_needs() -> None:
    roles = {
        part.removeprefix("--role=")
        for argv in triggers.commands(SETTINGS, "p")
        for part in argv
        if part.startswith("--role=")
    }

    assert roles == {
        "roles/artifactregistry.writer", "roles/cloudkms.cryptoKeyDecrypter",
        "projects/mit-lookit/roles/lookitDatabaseBackup", "roles/container.clusterViewer",
        "roles/logging.logWriter", "roles/secretmanager.secretAccessor", "roles/storage.objectUser",
    }  # fmt: skip


def test_project_wide_grants_are_minimal() -> None:
    granted = [argv for argv in triggers.rights(SETTINGS, STAGING, "p") if argv[1] == "projects"]

    assert [(argv[3], argv[5].removeprefix("--role=")) for argv in granted] == [
        ("p", "roles/logging.logWriter"),
        ("mit-lookit", "roles/container.clusterViewer"),
        ("mit-lookit", "projects/mit-lookit/roles/lookitDatabaseBackup"),
    ]
    assert {argv[4] for argv in granted} == {MEMBER}


def test_the_backup_role_cannot_change_the_database() -> None:
    made = triggers.commands(SETTINGS, "p")

    assert [argv for argv in made if argv[1:3] == ("iam", "roles")] == [
        ("gcloud", "iam", "roles", "create", "lookitDatabaseBackup", "--project=mit-lookit",
         "--title=Lookit database backup", "--stage=GA",
         "--permissions=cloudsql.backupRuns.create,cloudsql.backupRuns.list,cloudsql.instances.get"),
    ]  # fmt: skip
    assert made[0][1:3] == ("iam", "roles")


def test_the_sandbox_s_deployer_shows_that_the_right_is_enough() -> None:
    held = {right for right in DEPLOYER_PERMISSIONS if right.startswith("cloudsql.")}

    assert held == set(cloud_sql.PERMISSIONS)


def test_without_a_database_nothing_is_granted_on_one() -> None:
    none = checked_in_settings(
        environments={name: {"database": {"instance": ""}} for name in ("staging", "production")}
    )

    assert "cloudsql" not in triggers.as_script(triggers.commands(none, "p"), Path())


@pytest.mark.parametrize(
    ("image", "orchestrator", "granted"),
    [
        ("gcr.io/a/lookit", "gcr.io/a/lookit-orchestrator", ["gcr.io us a writer"]),
        ("eu.gcr.io/a/lookit", "us-east1-docker.pkg.dev/b/tools/o", ["eu.gcr.io europe a writer", "tools us-east1 b reader"]),
        ("us-east1-docker.pkg.dev/a/apps/lookit", "us-east1-docker.pkg.dev/a/apps/o", ["apps us-east1 a writer"]),
        ("asia.gcr.io/a/lookit", "docker.io/lookit/o", ["asia.gcr.io asia a writer"]),
        ("registry.example/lookit", "us.gcr.io/a/o", ["us.gcr.io us a reader"]),
    ],
)  # fmt: skip
def test_images_are_a_matter_of_their_repository_alone(
    image: str, orchestrator: str, granted: list[str]
) -> None:
    settings = checked_in_settings(image={"repository": image}, pipeline={"orchestrator": orchestrator})

    about_images = [argv for argv in triggers.rights(settings, STAGING, "p") if argv[1] == "artifacts"]

    assert [
        " ".join((argv[4], argv[5].removeprefix("--location="), argv[6].removeprefix("--project="), argv[-1].rpartition(".")[2]))
        for argv in about_images
    ] == granted  # fmt: skip
    assert {argv[7] for argv in about_images} == {MEMBER}


def test_both_environments_are_set_up_account_first() -> None:
    made = [
        argv
        for argv in triggers.commands(SETTINGS, "p")
        if "create" in argv and not {"roles", "buckets"} & {*argv}
    ]

    assert [next(part for part in argv if part.endswith(("-staging", "-production"))) for argv in made] == [
        "lookit-deploy-staging", "--name=lookit-staging", "lookit-deploy-production", "--name=lookit-production",
    ]  # fmt: skip


def test_the_bucket_of_reports_is_made_before_it_is_granted() -> None:
    made = triggers.commands(SETTINGS, "p")
    about = [argv for argv in made if f"gs://{SETTINGS.pipeline.reports}" in argv]

    assert about[0] == (
        "gcloud", "storage", "buckets", "create", "gs://mit-lookit-reports", "--project=p",
        "--uniform-bucket-level-access", "--public-access-prevention",
    )  # fmt: skip
    assert [argv[3:] for argv in about[1:]] == [
        ("add-iam-policy-binding", "gs://mit-lookit-reports",
         f"--member=serviceAccount:lookit-deploy-{name}@p.iam.gserviceaccount.com", "--role=roles/storage.objectUser")
        for name in ("staging", "production")
    ]  # fmt: skip


def test_the_script_can_be_read_back() -> None:
    made = triggers.commands(SETTINGS, "p")

    first, second, *lines = triggers.as_script(made, Path("/a checkout")).splitlines()

    assert (first, second) == ("set -eu", "cd '/a checkout'")
    assert [tuple(shlex.split(line)) for line in lines] == made


def program(folder: Path, body: str) -> str:
    path = folder / "gcloud"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("words", ["Resource already exists", "ALREADY_EXISTS: trigger lookit-staging"])
def test_what_exists_already_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    gcloud = program(tmp_path, f'echo "ERROR: {words}" >&2; exit 1')

    triggers.apply([(gcloud, "x")], tmp_path, 60)

    assert "Exists already" in capsys.readouterr().err


def test_a_refusal_ends_it(tmp_path: Path) -> None:
    gcloud = program(tmp_path, 'echo "PERMISSION_DENIED" >&2; exit 1')

    with pytest.raises(Failure, match="failed") as raised:
        triggers.apply([(gcloud, "x"), (gcloud, "y")], tmp_path, 60)

    assert raised.value.why == "PERMISSION_DENIED"


def test_a_command_that_hangs_is_a_time_out(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="`sleep 60` failed"):
        triggers.apply([("sleep", "60")], tmp_path, 0.1)


def test_commands_run_in_order_where_the_build_file_lies(tmp_path: Path) -> None:
    (tmp_path / "cloudbuild.yaml").touch()
    gcloud = program(tmp_path, "ls cloudbuild.yaml >/dev/null && echo $1 >>ran")

    triggers.apply([(gcloud, "x"), (gcloud, "y")], tmp_path, 60)

    assert (tmp_path / "ran").read_text() == "x\ny\n"


def test_without_gcloud_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="The program no-such-gcloud was not found") as raised:
        triggers.apply([("no-such-gcloud", "x")], tmp_path, 60)

    assert raised.value.next_step.startswith("Install the Google Cloud CLI, or run without --apply")


@pytest.mark.parametrize("project", ["", "a b", "Mit-Lookit", "-x"])
def test_an_invalid_project_name_is_refused(project: str) -> None:
    with pytest.raises(UsageError, match="is not a project id"):
        triggers.commands(SETTINGS, project)


def test_a_project_of_a_domain_is_one() -> None:
    assert triggers.commands(SETTINGS, "example.com:lookit-1")
