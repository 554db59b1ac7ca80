"""Releases: the history of deploys, rollbacks, drift and the lock."""

from invoke import Context

from tasks import cli
from tasks.lib.errors import UsageError


@cli.task(
    help={
        "branch": "The branch that was deployed; it determines the environment.",
        "commit": "The commit that was deployed (default: COMMIT_SHA, else the head of the branch).",
        "tag": "Its release tag (default: TAG_NAME).",
    }
)
def sentry(c: Context, branch: str = "", commit: str = "", tag: str = "") -> None:
    """Tell Sentry which commit is deployed where, so that errors name the release."""
    from tasks.lib import build_variables, console
    from tasks.lib.deploy import sentry as told

    settings = cli.settings(c)
    environment = settings.environment_of_branch(branch)
    variables = build_variables.read(settings, environment, commit=commit, tag=tag)
    if told.announce(settings, environment, variables):
        console.say(f"Told Sentry that {variables.short_sha} is deployed to {environment.name}.")


@cli.task(
    help={
        "environment": "The environment whose lock to release.",
        "by": "Your name, for the record.",
        "reason": "The reason, recorded in the cluster's events.",
    }
)
def unlock(c: Context, environment: str = "", by: str = "", reason: str = "") -> None:
    """Release the lock of a dead deploy, and print who held it."""
    from tasks.lib import console
    from tasks.lib.deploy.lock import force_release

    settings = cli.settings(c)
    console.say(force_release.unlock(settings, settings.environment(environment), by, reason))


@cli.task(name="list", help={"environment": "The environment.", "json": "Print JSON."})
def list_(c: Context, environment: str = "", json: bool = False) -> None:
    """List releases, newest first: what was deployed, when, by whom, and the result."""
    from tasks.lib.deploy.output import releases
    from tasks.lib.deploy.releases import review

    settings = cli.settings(c)
    releases.deliver_list(review.releases(settings, settings.environment(environment)), as_json=json)


@cli.task(
    may_follow="number",
    help={
        "number": "The number of the release (default: the newest).",
        "environment": "The environment.",
        "json": "Print JSON, objects included.",
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
        "before": "The number of the older release (default: the last but one whose objects are kept).",
        "after": "The number of the newer release (default: the newest whose objects are kept).",
        "environment": "The environment.",
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
        "environment": "The environment.",
        "json": "Print JSON.",
        "exit-code": "Exit with 3 if something has drifted.",
    }
)
def status(c: Context, environment: str = "", json: bool = False, exit_code: bool = False) -> None:
    """Show the current release, and where live objects have drifted from it."""
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
        "environment": "The environment.",
        "to": "The number of the release; 0 is the state before the first (default: the last good one).",
        "force-conflicts": "Take over Kind/name:field from another field manager; repeatable.",
        "prune": "Remove what later releases added; --no-prune keeps it.",
        "accept-unsealed": "Allow a release whose seal cannot be verified, after you approve its plan.",
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
    """Roll back to an earlier release, configuration and image; migrations are not reversed."""
    from tasks.lib.deploy.output import display, plans
    from tasks.lib.deploy.recovery import rollback

    number, settings = _number(to), cli.settings(c)
    forced, launcher = tuple(force_conflicts), cli.launcher(c)
    approve = plans.on_a_terminal("--accept-unsealed") if accept_unsealed else None
    request = rollback.Request(settings.environment(environment), number, launcher, forced, prune, approve)
    with display.shown() as tell:
        rollback.roll_back(settings, request, tell)


def _number(text: str) -> int | None:
    """The number of a release; None if none was given."""
    if text and not text.isdecimal():
        raise UsageError(
            f"{text} is not the number of a release.",
            "Releases are numbered from 1; 0 is the state before the first.",
            "./inv release.list --environment …",
        )
    return int(text) if text else None
