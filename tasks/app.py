"""The application's workloads between deploys: restarts, logs, and commands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from invoke import Collection, Context, Exit

from tasks import cli
from tasks.lib.errors import UsageError

if TYPE_CHECKING:
    from tasks.lib.operate.terminal import Wanted

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


@cli.task(
    name="exec",
    may_follow="workload",
    help={
        "workload": "The workload, as ./inv status names it, with or without prefix.",
        "environment": WORKLOADS["environment"],
        "container": "The container of the pod (default: the application's).",
        "pod": "A pod of the workload, even if it is not ready (default: the newest that is).",
    },
)
def exec_(c: Context, workload: str = "", environment: str = "", container: str = "", pod: str = "") -> None:
    """Run `-- COMMAND` in a running pod, in a terminal if there is one; its exit code is handed on.

    ./inv app.exec web --environment staging -- bash
    ./inv app.exec worker --environment production -- celery -A project.celery.app inspect active
    """
    from tasks.lib.operate.terminal import Wanted

    _enter(c, environment, Wanted(workload, pod, container), cli.command_after_dashes())


@cli.task(help={"environment": WORKLOADS["environment"]})
def shell(c: Context, environment: str = "") -> None:
    """Open Django's shell in a running pod of web, in a terminal if there is one.

    ./inv app.shell --environment staging
    echo 'print(User.objects.count())' | ./inv app.shell --environment production
    """
    from tasks.lib.operate.terminal import SHELL, WEB, Wanted

    _enter(c, environment, Wanted(WEB), SHELL)


def _enter(c: Context, environment: str, wanted: "Wanted", command: Sequence[str]) -> None:
    from tasks.lib import console
    from tasks.lib.operate import terminal

    settings = cli.settings(c)
    if code := terminal.run(settings, settings.environment(environment), wanted, command, console.say):
        raise Exit(code=code)


@cli.task(
    help={
        "environment": WORKLOADS["environment"],
        "on": "Show visitors the page, and stop the workers once their tasks have ended.",
        "off": "Start the workers, and show visitors the site again.",
        "message": "What the page says; with --on while it is on, the page changes.",
    }
)
def maintenance(
    c: Context, environment: str = "", on: bool = False, off: bool = False, message: str = ""
) -> None:
    """Show visitors a page instead of the site, or end that; without --on and --off, print which it is.

    ./inv app.maintenance --on --environment staging --message "Back at 10:00 UTC."
    ./inv app.maintenance --off --environment staging
    """
    from tasks.lib import console
    from tasks.lib.deploy.output import display
    from tasks.lib.operate import maintenance

    if (on and off) or (message and not on):
        raise UsageError(
            "The options do not go together.", "--message goes with --on, and --off with neither.",
            "./inv app.maintenance --on, or --off",
        )  # fmt: skip
    settings = cli.settings(c)
    chosen = settings.environment(environment)
    if not (on or off):
        console.emit(maintenance.in_words(maintenance.state(settings, chosen)))
        return
    with display.shown() as tell:
        if on:
            maintenance.turn_on(settings, chosen, message, tell)
        else:
            maintenance.turn_off(settings, chosen, tell)
    console.say(f"Maintenance mode of {chosen.name} is {'on' if on else 'off'}.")


app = Collection("app", restart, logs, run, runs, exec_, shell, maintenance)
