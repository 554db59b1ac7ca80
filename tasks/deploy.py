"""Deploy a branch to its environment."""

from invoke import Context

from tasks import cli


@cli.task(
    iterable=["force_conflicts"],
    help={
        "branch": "The branch to deploy; it decides on the environment.",
        "commit": "The commit to deploy, in full; by default COMMIT_SHA, else the head of the branch.",
        "tag": "The version on labels; by default TAG_NAME.",
        "allow-older": "Deploy the commit even if the one in force is known to be newer.",
        "jobs": "Run migration and collectstatic even if nothing that they read has changed.",
        "force-conflicts": "Take Kind/name:field over from another field manager; repeatable.",
        "plan": "Only show what would change, as ./inv plan does.",
        "approve": "Show the plan and ask before anything changes.",
        "wait": "Wait for another deploy of the environment to end; --no-wait fails instead.",
        "rollback": "After a failure, roll back to the last good release; --no-rollback keeps the changes.",
        "prune": "Remove what earlier releases deployed and this one does not; --no-prune keeps it.",
        "backup": "Back the database up before a migration runs; --no-backup does not.",
        "evidence": "The folder for a failed deploy's support bundle; by default deploy.evidence.",
        "evidence-bucket": "Where a failed deploy copies its support bundle and report to: gs://BUCKET/FOLDER.",
        "report": "Write deploy.json and deploy.html, a page about this deploy, into this folder.",
        "plan-file": "Deploy exactly what this plan says, or nothing; ./inv plan --json wrote it.",
    },
)
def deploy(
    c: Context,
    branch: str = "",
    commit: str = "",
    tag: str = "",
    jobs: bool = False,
    force_conflicts: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
    plan: bool = False,
    approve: bool = False,
    plan_file: str = "",
    wait: bool = True,
    rollback: bool = True,
    evidence: str = "",
    evidence_bucket: str = "",
    prune: bool = True,
    backup: bool = True,
    report: str = "",
    allow_older: bool = False,
) -> None:
    """Deploy a branch: decrypt, render, validate, apply in phases and wait until all is ready."""
    from tasks.lib.deploy import new_release
    from tasks.lib.deploy.output import display, plans
    from tasks.lib.deploy.plan.plan import Choices

    settings = cli.settings(c)
    request = new_release.Request.of_branch(
        settings,
        branch,
        commit,
        tag,
        Choices(run_jobs=jobs, force_conflicts=tuple(force_conflicts), prune=prune, backup=backup),
        wait=wait,
        approve=plans.approval(approve, plan_file),
        roll_back=rollback,
        evidence=cli.absolute(evidence),
        launcher=cli.launcher(c),
        allow_older=allow_older,
    )
    if plan:
        plans.show(new_release.plan(settings, request))
    else:
        display.deploy(settings, request, cli.absolute(report), evidence_bucket)
