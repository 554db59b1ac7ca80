"""The application's workloads between deploys: restarts, logs, one-off commands."""

from invoke import Collection, Context

from tasks import cli

WORKLOADS = {
    "environment": "The environment: staging or production.",
    "workload": "A workload, as ./inv status names it, with or without prefix; repeatable.",
}


@cli.task(may_follow="workload*", iterable=["workload"], help=WORKLOADS)
def restart(c: Context, workload: list[str] = [], environment: str = "") -> None:  # noqa: B006
    """Restart workloads one pod after the other, and wait until they are ready; by default all of the app.

    ./inv app.restart web --environment staging
    ./inv app.restart --environment production
    """
    from tasks.lib import console
    from tasks.lib.deploy.output import display
    from tasks.lib.operate.restart import restart

    settings = cli.settings(c)
    with display.shown() as tell:
        done = restart(settings, settings.environment(environment), workload, tell)
    console.say(f"Restarted: {', '.join(done)}.")


app = Collection("app", restart)
