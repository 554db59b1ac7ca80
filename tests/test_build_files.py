"""The build files of this repository: their steps call tasks that exist, and their limits nest."""

from pathlib import Path

import pytest

from tasks.lib.pipeline.build_file import Build
from tasks.lib.pipeline.graph import Graph, Launch
from tasks.lib.pipeline.reading import load
from tasks.lib.pipeline.steps import ReadyBuild, ReadyStep, needs, ready
from tests.builders import checked_in_settings
from tests.program import task_names

ROOT = Path(__file__).resolve().parents[1]
GIVEN = {"PROJECT_ID": "mit-lookit", "COMMIT_SHA": "c" * 40, "BRANCH_NAME": "develop"}


def chain() -> Build:
    return load(ROOT / "cloudbuild.yaml")


def resolved(**given: str) -> ReadyBuild:
    return ready(chain(), {**GIVEN, **given}, "cloudbuild.yaml")


def limit(build: Build, identifier: str) -> float:
    return next(step.timeout or 0 for step in build.steps if step.id == identifier)


def test_a_task_gives_up_before_its_step_does() -> None:
    """A step that is killed could neither roll back nor remove what it made."""
    settings = checked_in_settings()
    limits, cache = settings.time_limits, settings.build.cache_from
    hooks = max(len(settings.deploy.hooks.after_deploy), len(settings.deploy.hooks.after_failure))
    longest = {
        "test": 2 * limits.image_build + limits.image_push + limits.database_ready + limits.test,
        "build": limits.image_build + (limits.image_push if cache else 0),
        "push": settings.registry.push_attempts * limits.image_push + 4 * limits.registry,
        "deploy": limits.lock + limits.deploy + limits.backup + limits.rollback + hooks * limits.hook,
        "reports": limits.docker,
        "upload": limits.upload,
        "sentry": 4 * limits.sentry,
    }

    assert longest.keys() == {step.id for step in chain().steps}
    for identifier, seconds in longest.items():
        assert seconds < limit(chain(), identifier), identifier


def test_the_steps_end_before_the_build_does() -> None:
    build = chain()
    ends: list[float] = []
    for index, step in enumerate(build.steps):
        ends.append(max([ends[n] for n in needs(build, index)], default=0) + (step.timeout or 0))

    assert max(ends) < build.timeout


def test_what_can_runs_side_by_side() -> None:
    build = chain()
    waits = {step.id: {build.steps[n].id for n in needs(build, i)} for i, step in enumerate(build.steps)}

    assert waits == {
        "build": set(), "test": {"build"}, "push": {"test"}, "reports": set(), "deploy": {"push", "reports"},
        "upload": {"push"}, "sentry": {"deploy"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fails", "not_run"),
    [
        ("build", {"test", "push", "deploy", "upload", "sentry"}),
        ("test", {"push", "deploy", "upload", "sentry"}),
        ("push", {"deploy", "upload", "sentry"}),
        ("deploy", {"sentry"}),
    ],
)
def test_no_step_runs_after_one_that_failed(fails: str, not_run: set[str]) -> None:
    steps = resolved().steps

    def launch(step: ReadyStep) -> Launch:
        return Launch(["false" if step.identifier == fails else "true"])

    ended = Graph(steps, range(len(steps)), launch, lambda *_: None, 240).run()

    states = {result.step.identifier: result.state for result in ended}
    assert states[fails] == "FAILURE"
    assert {identifier for identifier, state in states.items() if state == "NOT RUN"} == not_run


def test_every_step_is_one_task_that_exists() -> None:
    for step in resolved().steps:
        assert step.args[0] in task_names(), f"{step.title} calls {step.args[0]}"


def test_only_steps_that_need_docker_get_it() -> None:
    with_docker = {step.identifier for step in resolved().steps if step.image.endswith("-docker")}

    assert with_docker == {"test", "build", "push", "reports"}


@pytest.mark.parametrize("archive", ["", "dist.zip"])
def test_the_whole_workspace_is_never_uploaded(archive: str) -> None:
    """An archive's path begins at the workspace, where every step runs: none is no path at all."""
    upload = next(step for step in resolved(_EMBER_ARCHIVE=archive).steps if step.identifier == "upload")

    assert f"--archive={archive}" in upload.args
    assert "--if-present" in upload.args
    assert upload.directory == "/workspace"


@pytest.mark.parametrize("file", ["cloudbuild.yaml", "cloudbuild.orchestrator.yaml"])
def test_a_build_file_has_nothing_that_cloud_build_reads_otherwise(file: str) -> None:
    build = ready(load(ROOT / file), GIVEN, file)

    assert build.doubts == []
    assert not [step.image for step in build.steps if "$" in step.image]


def test_no_secret_stands_in_a_build_file() -> None:
    step = next(step for step in resolved().steps if step.identifier == "sentry")

    assert step.secrets == ["SENTRY_AUTH_TOKEN"]
    assert not any(name.startswith("SENTRY") for name in step.env)
    assert resolved().secrets == {
        "SENTRY_AUTH_TOKEN": "projects/mit-lookit/secrets/sentry-auth-token/versions/latest"
    }


def test_the_settings_name_the_secrets_that_the_chain_reads() -> None:
    read = {str(version).split("/")[3] for version in resolved().secrets.values()}

    assert set(checked_in_settings().pipeline.secrets) == read


def test_the_settings_name_the_bucket_of_reports() -> None:
    assert chain().substitutions["_REPORTS"] == checked_in_settings().pipeline.reports


def test_what_is_kept_as_artifacts_is_what_deploy_writes() -> None:
    deploy = next(step for step in resolved().steps if step.identifier == "deploy")

    assert "--report=/workspace/reports" in deploy.args
    assert resolved().artifacts == ["reports/deploy.json", "reports/deploy.html"]


def test_the_orchestrator_s_own_file_pushes_what_it_tried() -> None:
    build = ready(load(ROOT / "cloudbuild.orchestrator.yaml"), GIVEN, "cloudbuild.orchestrator.yaml")
    image = f"gcr.io/mit-lookit/lookit-orchestrator:{'c' * 40}"

    assert next(step.image for step in build.steps if step.identifier == "try") == image
    assert image in build.images
    assert f"{image}-docker" in build.images
