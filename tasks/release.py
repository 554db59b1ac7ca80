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
