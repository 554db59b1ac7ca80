"""A pipeline against the sandbox: variables that lead each step there, and a registry here to push to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import image_registry, lifecycle
from sandbox.state import State
from sandbox.watching import is_up
from tasks.lib import console
from tasks.lib.image.reference import parse
from tasks.lib.image.registry import is_on_this_machine
from tasks.lib.pipeline.containers import is_own
from tasks.lib.pipeline.steps import ReadyStep

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

# Tasks that name an image after the registry that it is pushed to.
NEED_A_REGISTRY = frozenset({"build", "push"})


def bring_up(settings: "Settings", branch: str) -> None:
    """Bring up the sandbox, unless it is, for the environment that `branch` deploys to."""
    environment = settings.environment_of_branch(branch)
    if not is_up(lifecycle.state(settings), environment.cluster):
        console.heading("Sandbox")
        lifecycle.up(settings, [environment.name])


def variables(settings: "Settings", state: Path, steps: Sequence[ReadyStep]) -> dict[str, str]:
    """The variables that lead `steps` to the sandbox in `state`, and images to a registry on this machine."""
    sandbox = {"LOOKIT_SANDBOX": "1", "INVOKE_SANDBOX_STATE": str(state)}
    wanted = parse(settings.image.repository)
    if is_on_this_machine(wanted.registry):
        return sandbox
    here = State(state)
    address = image_registry.address(here)
    if any(_needs_a_registry(settings, step) for step in steps):
        address = image_registry.ensure(here, settings.time_limits.sandbox)
        console.say(f"Images go to the sandbox's registry, {address}/{wanted.repository}.")
    return {**sandbox, "INVOKE_SANDBOX_REGISTRY": address} if address else sandbox


def _needs_a_registry(settings: "Settings", step: ReadyStep) -> bool:
    """Whether a step builds or pushes the application's image."""
    task = next(iter(step.args), "")
    return task in NEED_A_REGISTRY and is_own(step, settings.pipeline.orchestrator)
