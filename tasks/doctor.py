"""Check this machine and the environments."""

from invoke import Context

from tasks import cli


@cli.task(help={"environment": "Only this environment (default: all).", "json": "Print JSON."})
def doctor(c: Context, environment: str = "", json: bool = False) -> None:
    """Check what is installed, reachable and permitted, and say how to fix each problem."""
    from tasks.lib.doctor import checks
    from tasks.lib.doctor.environment import all_checks

    settings = cli.settings(c)
    chosen = [settings.environment(environment)] if environment else list(settings.environments.values())
    checks.report(checks.run(all_checks(settings, chosen)), json=json)
