"""Steps without containers: this repository's own tasks, run from this checkout.

Only steps whose image is the orchestrator's, with its own entrypoint, can be run so: what another image would
do is not known here.
"""

import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath

from tasks.lib.errors import all_faults
from tasks.lib.image.reference import parse
from tasks.lib.pipeline.model import WORKSPACE
from tasks.lib.pipeline.resolving import ReadyStep
from tasks.lib.pipeline.running import Launch
from tasks.lib.redaction import Secret

# The workspace as a path of its own, not as a part of another one.
IN_TEXTS = re.compile(rf"(?<![\w./-]){WORKSPACE}(?![\w.-])")


@dataclass(frozen=True)
class Direct:
    """Launches steps as processes of this Python.

    Args:
        root: this checkout.
        workspace: the folder that stands for /workspace.
        secrets: the values of secret variables.
        env: variables for every step, such as LOOKIT_SANDBOX.
        settings_file: what `-f` names, or None.
        declared: all secret variables of the build: a step sees those alone that it asks for.

    """

    root: Path
    workspace: Path
    secrets: Mapping[str, Secret]
    env: Mapping[str, str]
    settings_file: Path | None = None
    declared: Collection[str] = ()

    def launch(self, step: ReadyStep) -> Launch:
        """The program that does what the step's container would, in the same folder."""
        secret = {name: os.fsdecode(self.secrets[name].reveal()) for name in step.secrets}
        own = {name: self._local(value) for name, value in step.env.items()}
        core = [
            "--search-root",
            str(self.root),
            *(["-f", str(self.settings_file)] if self.settings_file else []),
        ]
        # -P: what lies in the workspace is the application's, and never imported.
        argv = [
            sys.executable,
            "-P",
            "-m",
            "tasks",
            *core,
            *(self._local(argument) for argument in step.args),
        ]
        python = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": self._python_path()}
        folder = Path(self._local(step.directory))
        folder.mkdir(parents=True, exist_ok=True)
        hidden = {*self.declared} - {*step.secrets}
        return Launch(argv, {**own, **self.env, **secret, **python}, hidden, folder)

    def _local(self, text: str) -> str:
        """`text` with the workspace of the build replaced by the folder that stands for it."""
        return IN_TEXTS.sub(lambda _: str(self.workspace), text)

    def _python_path(self) -> str:
        return os.pathsep.join(path for path in (str(self.root), os.environ.get("PYTHONPATH", "")) if path)


def check(steps: Sequence[ReadyStep], chosen: Collection[int], orchestrator: str) -> None:
    """Refuse steps that only a container can run.

    Raises:
        UsageError: there are some; all are named.

    """
    faults = [
        f"step {step.title} runs {step.image}{_in_container_only(step)}"
        for step in steps
        if step.index in chosen and (not is_own(step, orchestrator) or _in_container_only(step))
    ]
    if faults:
        raise all_faults(
            "Some steps are no tasks of this repository, so they cannot run without Docker.", faults,
            "Leave --no-docker away, or choose other steps with --only or --from.",
        )  # fmt: skip


def is_own(step: ReadyStep, orchestrator: str) -> bool:
    """Whether a step runs a task of this repository."""
    plain = not step.script and not step.entrypoint
    return plain and parse(step.image).name == parse(orchestrator).name


def _in_container_only(step: ReadyStep) -> str:
    """What about a step only a container can give it; empty for a plain one."""
    if step.script:
        return " with a script"
    if step.entrypoint:
        return f" with the entrypoint {step.entrypoint}"
    if step.volumes:
        return " with volumes"
    inside = PurePosixPath(normpath(step.directory)).is_relative_to(WORKSPACE)
    return "" if inside else f" in the folder {step.directory}"
