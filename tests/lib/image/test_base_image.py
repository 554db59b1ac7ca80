"""The application's image as the base of its test image."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure
from tasks.lib.image import build, test_run
from tasks.lib.image.build import application_bases, bases
from tasks.lib.image.checkout import FOLDER, Tree, committed
from tests.builders import checked_in_settings
from tests.lib.image.docker_program import DockerProgram, Says, engine
from tests.sample_checkout import Sample, sample

__all__ = ["engine"]

REPOSITORY = "r.example/mit/lookit"
REVISION = "org.opencontainers.image.revision"


@pytest.fixture
def checkout(tmp_path: Path) -> Sample:
    return sample(tmp_path / "lookit-api")


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM lookit\nRUN poetry install\n", ["lookit"]),
        ("from lookit:latest as app\nFROM app\n", ["lookit:latest"]),
        ("FROM --platform=linux/amd64 lookit\n", ["lookit"]),
        ("ARG BASE=lookit\nFROM ${BASE}\n", ["lookit"]),
        ("ARG BASE\nFROM $BASE\n", []),
        (f"FROM {REPOSITORY}:develop\n", [f"{REPOSITORY}:develop"]),
        ("FROM python:3.9 AS lookit\nFROM lookit\n", []),
        ("FROM ghcr.io/another/lookit\nFROM lookit-base\nFROM someone/lookit\n", []),
        (f"FROM lookit@sha256:{'a' * 64}\n", []),
        ("# FROM lookit\nFROM scratch\n", []),
    ],
)
def test_a_test_image_is_based_on_the_application_s(dockerfile: str, expected: list[str]) -> None:
    settings = checked_in_settings(image={"repository": REPOSITORY})

    assert application_bases(settings, dockerfile) == expected


def test_the_settings_may_name_the_base() -> None:
    settings = checked_in_settings(test={"base_name": "app:dev"})

    assert application_bases(settings, "FROM $UNKNOWN\n") == ["app:dev"]


def test_a_build_argument_of_the_settings_names_the_base() -> None:
    assert bases("ARG BASE=debian\nFROM $BASE\n", {"BASE": "lookit"}) == ["lookit"]


def build_tests_of(made: Sample) -> str:
    """Build the test image of a checkout."""
    settings = checked_in_settings(image={"repository": REPOSITORY})
    variables = BuildVariables(
        commit_sha=made.head, branch_name="develop", tag_name="latest", repo_name="api", build_id="local"
    )
    with committed(made.folder, made.head) as tree:
        return test_run.build_image(settings, tree, variables, "Dockerfile.dev")


ID = Says("image inspect *.Id*", "sha256:app\n")


@pytest.mark.parametrize(
    ("labels", "built"),
    [
        ('{{"{revision}": "{head}", "org.lookit.built-from": "commit"}}', False),
        ('{{"{revision}": "{head}", "org.lookit.built-from": "commit with uncommitted changes"}}', True),
        ('{{"{revision}": "{head}"}}', True),
        ("null", True),
    ],
    ids=["of this commit", "of changes", "not said of what", "without labels"],
)
def test_the_application_s_image_is_built_unless_it_is_there(
    engine: DockerProgram, checkout: Sample, labels: str, *, built: bool
) -> None:
    said = labels.format(revision=REVISION, head=checkout.head)
    engine.answers(Says("image inspect *.Config.Labels*", said), ID)

    build_tests_of(checkout)

    tags = [line.partition(" --tag ")[2].split()[0] for line in engine.asked if " --tag " in line]
    own = f"{REPOSITORY}:{checkout.head}"
    assert tags == [*([own] if built else []), f"lookit-test:{checkout.head[:7]}"]
    named = engine.asked.index("tag sha256:app lookit")
    assert f"--tag lookit-test:{checkout.head[:7]}" in engine.asked[named + 3]


def test_a_base_image_moved_meanwhile_fails_the_test(engine: DockerProgram, checkout: Sample) -> None:
    engine.answers(
        Says("image inspect *.Config.Labels*", "null"), replace(ID, again=Says("", "sha256:another\n"))
    )

    with pytest.raises(Failure) as failure:
        build_tests_of(checkout)

    assert failure.value.what.startswith("The test image may be built on another image than ")
    assert failure.value.why == "Another process changed what lookit names during the build."


def test_a_test_image_of_its_own_needs_no_application(engine: DockerProgram, checkout: Sample) -> None:
    checkout.commit(Dockerfile_DOT_dev="FROM python:3.11\n")

    build_tests_of(checkout)

    assert not [line for line in engine.asked if line.startswith("tag ") or REPOSITORY in line]


def test_a_folder_without_git_has_its_own_image(engine: DockerProgram, tmp_path: Path) -> None:
    variables = BuildVariables(
        commit_sha="c" * 40, branch_name="develop", tag_name="latest", repo_name="api", build_id="local"
    )
    engine.answers(
        Says("image inspect *", f'{{"{REVISION}": "{"c" * 40}", "{build.BUILT_FROM}": "{FOLDER}"}}')
    )

    build.ensure(checked_in_settings(), Tree(source=tmp_path, folder=tmp_path), variables)

    assert [line.split()[0] for line in engine.asked] == ["image"]
