"""Steps without containers: this repository's own tasks, run from this checkout.

Only steps of the orchestrator's image with its own entrypoint can run so.
"""

import os
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath

from tasks.lib.errors import all_problems
from tasks.lib.pipeline.build_file import WORKSPACE
from tasks.lib.pipeline.containers import is_own
from tasks.lib.pipeline.graph import Launch
from tasks.lib.pipeline.steps import ReadyStep
from tasks.lib.redaction import Secret

# The workspace as a path of its own, not as a part of another one.
IN_TEXTS = re.compile(rf"(?<![\w./-]){WORKSPACE}(?![\w.-])")


@dataclass(frozen=True)
class Local:
    """Launches steps as processes of this Python."""

    root: Path
    workspace: Path  # that stands for /workspace
    secrets: Mapping[str, Secret]
    env: Mapping[str, str]  # variables for every step, such as LOOKIT_SANDBOX
    settings_file: Path | None = None
    declared: Collection[str] = ()  # all secret variables of the build: a step sees only those that it names

    def launch(self, step: ReadyStep) -> Launch:
        """The program that does what the step's container would, in the same folder."""
        own = {name: self._local(value) for name, value in step.env.items()}
        secret = {name: os.fsdecode(self.secrets[name].reveal()) for name in step.secrets}
        python = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": self._python_path()}
        settings = ["-f", str(self.settings_file)] if self.settings_file else []
        # -P: what lies in the workspace is the application's, and never imported.
        argv = [sys.executable, "-P", "-m", "tasks", "--search-root", str(self.root), *settings,
                *map(self._local, step.args)]  # fmt: skip
        folder = Path(self._local(step.directory))
        folder.mkdir(parents=True, exist_ok=True)
        hidden = {*self.declared} - {*step.secrets}
        return Launch(argv, {**own, **self.env, **secret, **python}, hidden, folder)

    def take(self, place: str, folder: Path) -> None:
        """Copy a file or folder of the workspace, if it is there, into `folder`."""
        found = self.workspace / place
        if found.is_dir():
            shutil.copytree(found, folder / place, symlinks=True, dirs_exist_ok=True)
        elif found.exists():
            shutil.copyfile(found, folder / place)

    def _local(self, text: str) -> str:
        """`text` with /workspace replaced by the folder that stands for it."""
        return IN_TEXTS.sub(lambda _: str(self.workspace), text)

    def _python_path(self) -> str:
        return os.pathsep.join(path for path in (str(self.root), os.environ.get("PYTHONPATH", "")) if path)


def check(steps: Sequence[ReadyStep], orchestrator: str) -> None:
    """Refuse steps that only a container can run."""
    problems = [
        f"step {step.title} runs {step.image}{_in_container_only(step)}"
        for step in steps
        if not is_own(step, orchestrator) or _in_container_only(step)
    ]
    if problems:
        raise all_problems(
            "Some steps are not tasks of this repository, so they cannot run without Docker.", problems,
            "Leave --no-docker away, or choose other steps with --only or --from.",
        )  # fmt: skip


def _in_container_only(step: ReadyStep) -> str:
    """What about a step needs a container; empty for a plain one."""
    if step.script:
        return " with a script"
    if step.entrypoint:
        return f" with the entrypoint {step.entrypoint}"
    if step.volumes:
        return " with volumes"
    inside = PurePosixPath(normpath(step.directory)).is_relative_to(WORKSPACE)
    return "" if inside else f" in the folder {step.directory}"
