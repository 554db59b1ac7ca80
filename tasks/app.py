"""The application's workloads between deploys: restarts, logs, one-off commands."""

from invoke import Collection, Context, Exit

from tasks import cli
from tasks.lib.errors import UsageError

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


@cli.task(
    may_follow="workload*",
    iterable=["workload"],
    help={
        **WORKLOADS,
        "follow": "Go on with each line as it is written, also of new pods, until Ctrl-C.",
        "since": "How far back, such as 30s, 10m or 2h.",
        "previous": "What containers wrote before they were last restarted, however long ago.",
        "grep": "Only lines that contain this regular expression.",
        "json": "Print one JSON object a line: at, pod, container, text.",
    },
)
def logs(
    c: Context,
    workload: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
    environment: str = "",
    follow: bool = False,
    since: str = "10m",
    previous: bool = False,
    grep: str = "",
    json: bool = False,
) -> None:
    """Print the logs of workloads, of all pods in the order of time; by default all of the app.

    ./inv app.logs web worker --environment staging --follow
    ./inv app.logs --environment production --since 2h --grep ERROR
    """
    from tasks.lib import console
    from tasks.lib.operate import logs
    from tasks.lib.operate.screen import LogPrinter

    if follow and previous:
        raise UsageError("A previous run has ended: there is nothing to follow.", "", "Leave out --previous.")
    settings = cli.settings(c)
    wanted = logs.Wanted(workload, since, previous, grep)
    show = logs.follow_all if follow else logs.read
    show(settings, settings.environment(environment), wanted, LogPrinter(as_json=json), console.say)


@cli.task(
    help={
        "environment": WORKLOADS["environment"],
        "detach": "Leave the command running, and print its name; ./inv app.runs shows how it ended.",
    }
)
def run(c: Context, environment: str = "", detach: bool = False) -> None:
    """Run `-- COMMAND` once in a pod like web's; its output and exit code are handed on.

    ./inv app.run --environment staging -- python manage.py showmigrations
    ./inv app.run --environment production --detach -- python manage.py clearsessions
    """
    from tasks.lib import console
    from tasks.lib.operate import run

    settings = cli.settings(c)
    chosen, command = settings.environment(environment), cli.command_after_dashes()
    if detach:
        console.emit(run.detach(settings, chosen, command))
    elif code := run.run(settings, chosen, command, console.emit):
        raise Exit(code=code)


@cli.task(help={"environment": WORKLOADS["environment"], "json": "Print JSON."})
def runs(c: Context, environment: str = "", json: bool = False) -> None:
    """List the last commands of app.run, newest first: who, what, when, and how each ended.

    ./inv app.runs --environment staging
    ./inv app.runs --environment production --json
    """
    from tasks.lib.operate import run, screen

    settings = cli.settings(c)
    screen.deliver_runs(run.runs(settings, settings.environment(environment)), as_json=json)


app = Collection("app", restart, logs, run, runs)
