"""Run this project's own checks."""

from invoke import Context

from tasks import cli


@cli.task(help={"session": "Only these Nox sessions, separated by commas (default: all)."})
def check(c: Context, session: str = "") -> None:
    """Run lint, type checks and all tests of this project, e2e included, with Nox."""
    from tasks.lib import checks

    checks.run_sessions(cli.ROOT, session)
