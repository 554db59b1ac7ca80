"""Show what a deploy would do."""

from invoke import Context

from tasks import cli


@cli.task(
    iterable=["force_conflicts"],
    help={
        "branch": "The branch whose deploy to plan.",
        "commit": "The commit to plan for, in full; by default as for deploy.",
        "tag": "The version on labels; by default TAG_NAME.",
        "allow-older": "As for deploy.",
        "jobs": "As if Jobs were to run in any case.",
        "force-conflicts": "As if Kind/name:field were taken over; repeatable.",
        "prune": "Show what would be removed too; --no-prune as for deploy.",
        "json": "Print JSON, which deploy --plan-file takes.",
        "html": "Also write a page to this file.",
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
    """Show what a deploy of a branch would change, field by field; nothing is changed."""
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
