"""Releases: what others are told of them."""

from invoke import Context

from tasks import cli
from tasks.lib.errors import UsageError


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
    from tasks.lib.deploy import sentry as told

    settings = cli.settings(c)
    environment = settings.environment_of_branch(branch)
    variables = build_variables.read(settings, environment, commit=commit, tag=tag)
    if told.announce(settings, environment, variables):
        console.say(f"Sentry knows that {variables.short_sha} runs in {environment.name}.")


@cli.task(
    help={
        "environment": "Whose lock to release.",
        "by": "Who decides this.",
        "reason": "Why; it is told to the holder's successors in the cluster's events.",
    }
)
def unlock(c: Context, environment: str = "", by: str = "", reason: str = "") -> None:
    """Release the lock of a dead deploy, and say whose it was."""
    from tasks.lib import console
    from tasks.lib.deploy.lock import force_release

    settings = cli.settings(c)
    console.say(force_release.unlock(settings, settings.environment(environment), by, reason))


@cli.task(name="list", help={"environment": "Whose releases.", "json": "Print JSON."})
def list_(c: Context, environment: str = "", json: bool = False) -> None:
    """List what was deployed when, by whom and how it ended, the newest first."""
    from tasks.lib.deploy.output import releases
    from tasks.lib.deploy.releases import review

    settings = cli.settings(c)
    releases.deliver_list(review.releases(settings, settings.environment(environment)), as_json=json)


@cli.task(
    may_follow="number",
    help={
        "number": "The number of the release; by default the newest.",
        "environment": "Whose release.",
        "json": "Print JSON, its objects included.",
    },
)
def show(c: Context, number: str = "", environment: str = "", json: bool = False) -> None:
    """Show one release: commit, who, when, phases, images and objects."""
    from tasks.lib.deploy.output import releases
    from tasks.lib.deploy.releases import review

    wanted, settings = _number(number), cli.settings(c)
    found = review.show(settings, settings.environment(environment), wanted)
    releases.deliver_release(found, as_json=json)


@cli.task(
    may_follow="before after",
    help={
        "before": "The number of one release; by default the last but one with kept objects.",
        "after": "The number of the other; by default the newest with kept objects.",
        "environment": "Whose releases.",
        "json": "Print JSON.",
    },
)
def diff(c: Context, before: str = "", after: str = "", environment: str = "", json: bool = False) -> None:
    """Show how two releases differ, object by object and field by field."""
    from tasks.lib.deploy.output import releases
    from tasks.lib.deploy.releases import review

    numbers = [number for text in (before, after) if (number := _number(text)) is not None]
    settings = cli.settings(c)
    found = review.compare(settings, settings.environment(environment), numbers)
    releases.deliver_differences(*found, as_json=json)


@cli.task(
    help={
        "environment": "Which environment.",
        "json": "Print JSON.",
        "exit-code": "Exit with 3 if something has drifted.",
    }
)
def status(c: Context, environment: str = "", json: bool = False, exit_code: bool = False) -> None:
    """Show the release in force and where live objects have drifted from it."""
    from tasks.lib.deploy.output import releases
    from tasks.lib.deploy.releases import review

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    found = review.status(settings, chosen)
    releases.deliver_status(chosen.name, found, as_json=json)
    if exit_code:
        found.require_no_drift()


@cli.task(
    iterable=["force_conflicts"],
    help={
        "environment": "Whose release.",
        "to": "The number of the release; 0 for what was there before the first; by default the last good.",
        "force-conflicts": "Take Kind/name:field over from another field manager; repeatable.",
        "prune": "Remove what later releases added; --no-prune leaves it.",
        "accept-unsealed": "Show the plan of a release whose seal cannot be verified, and ask.",
    },
)
def rollback(
    c: Context,
    environment: str = "",
    to: str = "",
    force_conflicts: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
    prune: bool = True,
    accept_unsealed: bool = False,
) -> None:
    """Roll back to an earlier release, configuration and image together; migrations are not reversed."""
    from tasks.lib.deploy.output import display, plans
    from tasks.lib.deploy.recovery import rollback

    number, settings = _number(to), cli.settings(c)
    forced, launcher = tuple(force_conflicts), cli.launcher(c)
    approve = plans.on_a_terminal("--accept-unsealed") if accept_unsealed else None
    request = rollback.Request(settings.environment(environment), number, launcher, forced, prune, approve)
    with display.shown() as tell:
        rollback.roll_back(settings, request, tell)


def _number(text: str) -> int | None:
    """The number of a release; None where none was named."""
    if text and not text.isdecimal():
        raise UsageError(
            f"{text} is not the number of a release.",
            "Releases are numbered from 1 on; 0 is what others had deployed before.",
            "./inv release.list --environment …",
        )
    return int(text) if text else None
