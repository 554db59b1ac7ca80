"""The sandbox that a pipeline works against: it is brought up, and which registry its steps get."""

from pathlib import Path
from typing import Any

import pytest

from sandbox import image_registry, lifecycle, pipeline
from sandbox.components import write_plan
from sandbox.state import State
from tasks.lib.errors import Failure
from tasks.lib.pipeline.reading import parse
from tasks.lib.pipeline.steps import ReadyStep, ready
from tasks.lib.settings.model import Settings
from tests.builders import checked_in_settings
from tests.program import Here

OWN = "gcr.io/mit-lookit/lookit-orchestrator:stable"
WAY = {"LOOKIT_SANDBOX": "1"}


def step(task: str, image: str = OWN, **fields: Any) -> ReadyStep:
    (found,) = ready(parse({"steps": [{"name": image, "args": [task], **fields}]}, "f"), {}, "f").steps
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """The sandboxes whose registry was started."""
    found: list[State] = []

    def ensure(here: State, _seconds: float) -> str:
        found.append(here)
        return "127.0.0.1:7"

    monkeypatch.setattr(image_registry, "ensure", ensure)
    return found


def variables(state: Path, *steps: ReadyStep, settings: Settings | None = None) -> dict[str, str]:
    found = pipeline.variables(settings or checked_in_settings(), state, steps)
    assert found.pop("INVOKE_SANDBOX_STATE") == str(state)
    return found


@pytest.mark.parametrize("task", ["build", "push"])
def test_images_are_pushed_to_the_registry_of_the_sandbox(
    tmp_path: Path, started: list[State], task: str
) -> None:
    found = variables(tmp_path, step("test"), step(task))

    assert found == {**WAY, "INVOKE_SANDBOX_REGISTRY": "127.0.0.1:7"}
    assert [here.folder for here in started] == [tmp_path]


def test_a_registry_on_this_machine_is_left_in_force(tmp_path: Path, started: list[State]) -> None:
    mine = checked_in_settings(image={"repository": "localhost:5000/lookit"})

    assert variables(tmp_path, step("push"), settings=mine) == WAY
    assert started == []


@pytest.mark.parametrize(
    "other", [step("deploy"), step("push", image="bash"), step("x", entrypoint="push")], ids=lambda s: s.image
)
def test_other_steps_need_none(tmp_path: Path, started: list[State], other: ReadyStep) -> None:
    assert variables(tmp_path, other) == WAY
    assert started == []


def test_a_deploy_alone_finds_what_was_pushed_before(tmp_path: Path, started: list[State]) -> None:
    here = State(tmp_path)
    write_plan(here.plan, [image_registry.component(here, Path("/x"), 5)])

    assert variables(tmp_path, step("deploy"))["INVOKE_SANDBOX_REGISTRY"] == "127.0.0.1:5"
    assert started == []


def test_a_pipeline_begins_with_a_sandbox_where_none_is(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def up(_: Settings, environments: list[str]) -> None:
        raise Failure(f"A sandbox for {environments} would be brought up.")

    monkeypatch.setattr(lifecycle, "up", up)

    ended = here.inv(
        "pipeline", "--branch", "develop", "--sandbox", INVOKE_SANDBOX_STATE=str(tmp_path / "none")
    )

    assert ended.code == 1
    assert "==> Sandbox\nA sandbox for ['staging'] would be brought up." in ended.stderr


def test_a_sandbox_that_is_up_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "is_up", lambda _state, cluster: cluster == "lookit-staging")
    monkeypatch.setattr(lifecycle, "up", lambda *_: pytest.fail("it was brought up again"))

    pipeline.bring_up(checked_in_settings(), "develop")
