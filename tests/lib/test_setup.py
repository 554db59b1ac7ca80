"""What an environment needs before its first deploy: in order, with reasons, without passwords."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.lib import setup
from tasks.lib.errors import Failure, UsageError
from tasks.lib.setup import Part
from tests.builders import checked_in_settings

SETTINGS = checked_in_settings()
STAGING = SETTINGS.environment("staging")
PARTS = setup.parts(SETTINGS, STAGING, "builds")


def commands(parts: list[Part] = PARTS) -> list[tuple[str, ...]]:
    return [argv for part in parts for argv in part.commands]


def position(*words: str) -> int:
    """The place of the first command that has all of `words`."""
    return next(number for number, argv in enumerate(commands()) if {*words} <= {*argv})


def test_every_part_says_why_it_is_needed() -> None:
    assert all(part.why and (part.commands or part.by_hand) for part in PARTS)


def test_what_is_granted_exists_before() -> None:
    assert (
        position("keyrings", "create")
        < position("kms", "keys", "create")
        < position("kms", "add-iam-policy-binding")
    )
    assert position("repositories", "create") < position("repositories", "add-iam-policy-binding")
    assert position("secrets", "create") < position("secrets", "add-iam-policy-binding")
    assert position("buckets", "create") < position("buckets", "add-iam-policy-binding")
    assert position("clusters", "create") < position("clusters", "get-credentials")
    assert position("service-accounts", "create") < position("builds", "triggers")


def test_apis_are_enabled_in_every_project_first() -> None:
    enabled = [argv for argv in commands() if argv[1:3] == ("services", "enable")]

    assert enabled == commands()[: len(enabled)]
    assert {argv[-1] for argv in enabled} == {
        "--project=builds",
        "--project=mit-lookit",
        "--project=mit-lookit-keys",
    }


def test_only_this_environment_is_set_up() -> None:
    assert "production" not in setup.as_script(PARTS, SETTINGS)


def test_the_database_has_the_version_of_the_tests() -> None:
    settings = checked_in_settings(test={"database_image": "registry.example:5000/postgres:15.3-alpine"})

    made = commands(setup.parts(settings, settings.environment("staging"), "builds"))

    assert any("--database-version=POSTGRES_15" in argv for argv in made)


def test_without_a_database_none_is_created() -> None:
    settings = checked_in_settings(environments={"staging": {"database": {"instance": ""}}})

    script = setup.as_script(setup.parts(settings, settings.environment("staging"), "builds"), settings)

    assert "sql" not in script.replace("sqladmin", "").replace("cloudsql", "")


def test_a_key_of_another_ring_is_not_created() -> None:
    name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    settings = checked_in_settings(environments={"staging": {"secrets": {"release_key": name}}})

    made = commands(setup.parts(settings, settings.environment("staging"), "builds"))

    assert [argv[4] for argv in made if argv[1:4] == ("kms", "keys", "create")] == ["kubernetes-secrets"]


def test_the_deployers_role_is_bound_to_the_builds_account(tmp_path: Path) -> None:
    (script,) = (argv[2] for argv in commands() if argv[0] == "sh")
    only_sed = script.partition(" | ")[0]

    role = subprocess.run(
        ["sh", "-c", only_sed], cwd=SETTINGS.root, capture_output=True, text=True, check=True
    )

    assert role.stdout.count("name: lookit-deploy-staging@builds.iam.gserviceaccount.com") == 2
    assert setup.ACCOUNT_IN_ROLE_FILE not in role.stdout


def test_the_users_own_kubeconfig_is_not_touched() -> None:
    touching = [
        argv for argv in commands() if {"get-credentials", "kubectl"} & set(shlex.split(shlex.join(argv)))
    ]

    assert touching
    assert all(
        setup.KUBECONFIG in shlex.join(argv)
        for argv in commands()
        if "get-credentials" in argv or "sh" in argv
    )


def test_the_script_is_valid_and_by_hand_is_a_comment() -> None:
    script = setup.as_script(PARTS, SETTINGS)

    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    run = [tuple(shlex.split(line)) for line in script.splitlines() if line and not line.startswith("#")][2:]
    assert run == commands()


def test_by_hand_comes_last_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = checked_in_settings()

    setup.apply([Part("A", "why", [("true",)], ["first"]), Part("B", "why", [], ["second"])], settings)

    said = capsys.readouterr().err
    assert said.index("Done: true") < said.index("1. first") < said.index("2. second")


def test_a_missing_program_is_named_before_anything_runs(tmp_path: Path) -> None:
    made = [Part("A", "why", [("touch", str(tmp_path / "ran"))]), Part("B", "why", [("no-such-gcloud",)])]

    with pytest.raises(Failure, match="no-such-gcloud"):
        setup.apply(made, SETTINGS)

    assert not (tmp_path / "ran").exists()


def test_an_invalid_project_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a project id"):
        setup.parts(SETTINGS, STAGING, "Not One")


@pytest.mark.parametrize(("zone", "region"), [("us-east1-d", "us-east1"), ("europe-west4", "europe-west4")])
def test_a_zone_belongs_to_a_region(zone: str, region: str) -> None:
    assert setup.region(zone) == region


def spelled_by_hand() -> list[tuple[str, ...]]:
    """The gcloud commands that a person is asked to run."""
    lines = [line for part in PARTS for line in part.by_hand if "gcloud " in line]
    ways = [way for line in lines for way in line[line.index("gcloud ") :].split(" && ")]
    return [tuple(shlex.split(way)) for way in ways if way.startswith("gcloud ")]


def gclouds() -> list[tuple[str, ...]]:
    made = [argv for argv in [*commands(), *spelled_by_hand()] if "gcloud" in argv]
    return [argv[argv.index("gcloud") :] for argv in made]


@pytest.mark.gcloud
@pytest.mark.parametrize("argv", gclouds(), ids=lambda argv: " ".join(argv[1:5]))
def test_gcloud_accepts_the_command(argv: tuple[str, ...], tmp_path: Path) -> None:
    """It parses all options before it looks for an account, of which it has none here."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    alone = {**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}

    done = subprocess.run(
        argv, env=alone, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert "do not currently have an active account" in done.stderr
