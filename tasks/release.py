"""Releases: what others are told of them."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "branch": "The branch that was deployed; it decides on the environment.",
        "commit": "The commit that was deployed (default: COMMIT_SHA, else the head of the branch).",
        "tag": "Its release tag (default: TAG_NAME).",
    }
)
def sentry(c: Context, branch: str = "", commit: str = "", tag: str = "") -> None:
    """Tell Sentry which commit runs where, so that its errors name the release."""
    from tasks.lib import build_variables, console
    from tasks.lib import sentry as told

    settings = cli.settings(c)
    environment = settings.environment_of_branch(branch)
    variables = build_variables.read(settings, environment, commit=commit, tag=tag)
    if told.announce(settings, environment, variables):
        console.say(f"Sentry knows that {variables.short_sha} runs in {environment.name}.")


@cli.task(
    help={
        "environment": "Whose lock to give up.",
        "by": "Who decides this.",
        "reason": "Why; it is told to the holder's successors in the cluster's events.",
    }
)
def unlock(c: Context, environment: str = "", by: str = "", reason: str = "") -> None:
    """Give up the lock of a deploy that is surely dead; says whose it was."""
    from tasks.lib import console
    from tasks.lib.deploy import unlocking

    settings = cli.settings(c)
    console.say(unlocking.unlock(settings, settings.environment(environment), by, reason))


@cli.task(name="list", help={"environment": "Whose releases.", "json": "Print JSON."})
def list_(c: Context, environment: str = "", json: bool = False) -> None:
    """List what was deployed when, by whom and how it ended, the newest first."""
    from tasks.lib.deploy import going_back, telling

    settings = cli.settings(c)
    telling.deliver_list(going_back.releases(settings, settings.environment(environment)), as_json=json)


@cli.task(
    help={"environment": "Whose release.", "to": "The number of the release; by default the last good one."}
)
def rollback(c: Context, environment: str = "", to: int = 0) -> None:
    """Bring an earlier release back, configuration and image together; migrations are not reversed."""
    from tasks.lib.deploy import deploying, going_back

    settings = cli.settings(c)
    going_back.roll_back(settings, settings.environment(environment), to, deploying.print_event)
