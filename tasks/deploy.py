"""Deploy a branch to its environment."""

from invoke import Context

from tasks import cli


@cli.task(
    iterable=["force_conflicts"],
    help={
        "branch": "The branch to deploy; it decides on the environment.",
        "commit": "The commit to deploy, in full; by default COMMIT_SHA, else the head of the branch.",
        "tag": "The version on labels; by default TAG_NAME.",
        "jobs": "Run migration and collectstatic even if nothing that they read has changed.",
        "force-conflicts": "Take over Kind/name or Kind/name:field from another field manager; repeatable.",
    },
)
def deploy(
    c: Context,
    branch: str = "",
    commit: str = "",
    tag: str = "",
    jobs: bool = False,
    force_conflicts: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
) -> None:
    """Deploy a branch: decrypt, render, validate, apply in phases and wait until all is ready."""
    from tasks.lib import build_variables
    from tasks.lib.deploy import deploying
    from tasks.lib.deploy.engine import Choices

    settings = cli.settings(c)
    environment = settings.environment_of_branch(branch)
    variables = build_variables.read(settings, environment, commit=commit, tag=tag)
    choices = Choices(run_jobs=jobs, force_conflicts=tuple(force_conflicts))
    deploying.deploy(settings, deploying.Release(environment, variables, choices), deploying.print_event)
