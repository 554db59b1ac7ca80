"""Show what a deploy would do."""

from invoke import Context

from tasks import cli


@cli.task(
    iterable=["force_conflicts"],
    help={
        "branch": "The branch to plan a deploy of; it determines the environment.",
        "commit": "The commit, a full SHA (default: COMMIT_SHA, else the head of the branch).",
        "tag": "The version on labels (default: TAG_NAME).",
        "allow-older": "Plan the commit even if the deployed one is newer.",
        "jobs": "Plan to run the migration and collectstatic Jobs even if nothing has changed for them.",
        "force-conflicts": "Plan to take over Kind/name:field from another field manager; repeatable.",
        "prune": "Include what would be removed; --no-prune leaves it out.",
        "json": "Print JSON for deploy --plan-file.",
        "html": "Also write an HTML page to this file.",
        "exit-code": "Exit with 3 if there is something to change.",
    },
)
def plan(
    c: Context,
    branch: str = "",
    commit: str = "",
    tag: str = "",
    jobs: bool = False,
    force_conflicts: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
    json: bool = False,
    html: str = "",
    exit_code: bool = False,
    prune: bool = True,
    allow_older: bool = False,
) -> None:
    """Show what a deploy of a branch would change, field by field, without changing anything."""
    from tasks.lib.deploy import new_release
    from tasks.lib.deploy.output import plans
    from tasks.lib.deploy.plan.plan import Choices

    settings = cli.settings(c)
    choices = Choices(run_jobs=jobs, force_conflicts=tuple(force_conflicts), prune=prune)
    request = new_release.Request.of_branch(settings, branch, commit, tag, choices, allow_older=allow_older)
    found = new_release.plan(settings, request)
    plans.deliver(found, as_json=json, page=html)
    if exit_code:
        plans.require_no_changes(found)
