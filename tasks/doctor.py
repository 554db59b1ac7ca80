"""Look for what is missing."""

from invoke import Context

from tasks import cli


@cli.task(help={"environment": "Only this environment (default: all).", "json": "Print JSON."})
def doctor(c: Context, environment: str = "", json: bool = False) -> None:
    """Check what is installed, reachable and permitted, and say how to fix each problem."""
    from tasks.lib.doctor import examination

    settings = cli.settings(c)
    chosen = [settings.environment(environment)] if environment else list(settings.environments.values())
    examination.report(examination.examine_all(settings, chosen), json=json)
