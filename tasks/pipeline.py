"""Run Cloud Build's pipeline on this machine."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from tasks import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.lib.pipeline.graph import Result
    from tasks.lib.pipeline.run import Sandbox
    from tasks.lib.settings.model import Settings


@cli.task(
    default=True,
    iterable=["substitution"],
    help={
        "branch": "The branch to build and deploy; it determines the environment.",
        "source": "The application's checkout (default: source.checkout in invoke.yaml, else this folder).",
        "file": "The build file (default: pipeline.file in invoke.yaml).",
        "from": "Start at this step (its id or number); earlier steps count as done.",
        "only": "Run only this step.",
        "tag": "The release tag (default: TAG_NAME).",
        "substitution": "A user-defined substitution, as _NAME=VALUE; repeatable.",
        "docker": "Run steps in containers; --no-docker runs this repository's own tasks directly.",
        "json": "Print the result of each step as JSON.",
    },
)
def run(
    c: Context,
    branch: str = "",
    source: str = "",
    file: str = "",
    from_: str = "",
    only: str = "",
    tag: str = "",
    substitution: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
    docker: bool = True,
    json: bool = False,
) -> None:
    """Run the steps of cloudbuild.yaml on this machine, as Cloud Build would."""
    from tasks.lib import console
    from tasks.lib.image import checkout
    from tasks.lib.pipeline.run import Request, as_json, named, run_build

    if cli.in_sandbox(c):
        from sandbox.pipeline import bring_up

        bring_up(cli.checkout_settings(c), branch)
    settings = cli.settings(c)
    folder = checkout.folder(settings, source, Path.cwd())
    request = Request(
        file=Path.cwd() / file if file else cli.ROOT / settings.pipeline.file,
        source=folder,
        environment=settings.environment_of_branch(branch),
        variables=checkout.variables(settings, folder, tag=tag, branch=branch),
        start=from_,
        only=only,
        substitutions=named(substitution),
        in_containers=docker,
        sandbox=_sandbox(c, settings),
        settings_file=cli.settings_file(c),
    )

    def tell(results: "Sequence[Result]") -> None:
        if json:
            console.emit(as_json(results))

    run_build(settings, request, tell)


@cli.task(help={"folder": "The folder, within the workspace."})
def reports(c: Context, folder: str) -> None:
    """Create a folder for reports that every step can write to, whichever user it runs as."""
    from tasks.lib.pipeline import artifacts

    artifacts.make_shared_folder(Path.cwd() / folder)


@cli.task(
    help={
        "project": "The project of the builds.",
        "apply": "Run the commands instead of printing them.",
    }
)
def triggers(c: Context, project: str = "mit-lookit", apply: bool = False) -> None:
    """Print, or run, the gcloud commands that create the two triggers and grant their permissions."""
    from tasks.lib import console
    from tasks.lib.pipeline import triggers as wanted

    settings = cli.settings(c)
    made = wanted.commands(settings, project)
    if apply:
        wanted.apply(made, settings.root, settings.time_limits.docker)
    else:
        console.emit(wanted.as_script(made, settings.root))


def _sandbox(c: Context, settings: "Settings") -> "Sandbox | None":
    """The sandbox that the steps work against; None where they are meant for Google."""
    state = cli.sandbox_state(c)
    if state is None:
        return None
    from sandbox.pipeline import variables
    from tasks.lib.pipeline.run import Sandbox

    return Sandbox(state, partial(variables, settings, state))
