"""One screen for all environments: what runs, and what needs attention."""

from functools import partial

from invoke import Context

from tasks import cli
from tasks.lib.errors import UsageError


@cli.task(
    help={
        "environment": "Only this environment (default: all).",
        "watch": "Look again every 5 seconds, until Ctrl-C.",
        "json": "Print JSON, one line for each look.",
        "html": "Write the screen as an HTML page to this file.",
        "exit-code": "Exit with 3 if something needs attention.",
    }
)
def status(
    c: Context,
    environment: str = "",
    watch: bool = False,
    json: bool = False,
    html: str = "",
    exit_code: bool = False,
) -> None:
    """Show what runs in each environment; what needs attention comes first, with what to do.

    ./inv status
    ./inv status --environment production --watch
    """
    from tasks.lib.operate import overview, screen

    if watch and exit_code:
        raise UsageError(
            "--watch never ends, so there is no exit code.", "", "Leave out --watch or --exit-code."
        )
    settings, path = cli.settings(c), cli.absolute(html)
    chosen = [settings.environment(environment)] if environment else list(settings.environments.values())
    look = partial(overview.look, settings, chosen)
    if watch:
        screen.watch(look, as_json=json, path=path)
    found = look()
    screen.deliver(found, as_json=json, path=path)
    if exit_code:
        screen.require_nothing(found)
