"""Deploy a branch to its environment."""

from invoke import Context

from tasks import cli


@cli.task(
    iterable=["force_conflicts"],
    help={
        "branch": "The branch to deploy; it determines the environment.",
        "commit": "The commit to deploy, a full SHA (default: COMMIT_SHA, else the head of the branch).",
        "tag": "The version on labels (default: TAG_NAME).",
        "allow-older": "Deploy the commit even if the deployed one is newer.",
        "jobs": "Run the migration and collectstatic Jobs even if nothing has changed for them.",
        "force-conflicts": "Take over Kind/name:field from another field manager; repeatable.",
        "plan": "Only show what would change, as ./inv plan does.",
        "approve": "Show the plan and ask for approval before anything changes.",
        "wait": "Wait for another deploy of the environment to end; --no-wait fails instead.",
        "rollback": "After a failure, roll back to the last good release; --no-rollback keeps the changes.",
        "prune": "Remove objects of earlier releases that this one does not have; --no-prune keeps them.",
        "backup": "Back up the database before a migration; --no-backup does not.",
        "evidence": "The folder for the support bundle of a failed deploy (default: deploy.evidence).",
        "evidence-bucket": "Where to upload the support bundle and report of a failed deploy: gs://BUCKET/FOLDER.",
        "report": "Write deploy.json and deploy.html, a report of this deploy, into this folder.",
        "plan-file": "Deploy exactly this plan, written by ./inv plan --json, or stop if it is stale.",
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
    """Deploy a branch: decrypt, render, validate, apply in phases, and wait until everything is ready."""
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
