"""The sandbox, which stands in for Google Cloud on this machine."""

from invoke import Collection, Context

from tasks import cli


@cli.task(
    help={
        "environment": "Only this environment's cluster and secrets (default: all).",
        "containers": "Add a real node, on which containers run, beside the simulated ones. Needs root.",
        "source": "With --containers: the checkout of lookit-api to run (default: the sandbox's own site).",
    },
    iterable=["environment"],
)
def up(c: Context, environment: list[str] | None = None, containers: bool = False, source: str = "") -> None:
    """Start the sandbox; servers that already run are kept."""
    from sandbox import lifecycle, report
    from tasks.lib import console

    folder = cli.application_source(source, containers=containers)
    settings = cli.checkout_settings(c)
    statuses = lifecycle.up(settings, environment or (), containers=containers, source=folder)
    report.show(statuses)
    console.say("The sandbox is up. Add --sandbox to any task, or export LOOKIT_SANDBOX=1.")


@cli.task(help={"keep_data": "Keep clusters, keys, secrets and buckets for the next `sandbox.up`."})
def down(c: Context, keep_data: bool = False) -> None:
    """Stop the sandbox and remove its data."""
    from sandbox import lifecycle
    from tasks.lib import console

    ended = lifecycle.down(lifecycle.state(cli.checkout_settings(c)), keep_data=keep_data)
    console.say(f"The sandbox is down: {ended} processes ended." if ended else "No sandbox was running.")


@cli.task(help={"json": "Print JSON."})
def status(c: Context, json: bool = False) -> None:
    """Show every server of the sandbox with its process, port and health."""
    from sandbox import lifecycle, report, watching

    here = lifecycle.state(cli.checkout_settings(c))
    statuses = watching.status(here)
    report.emit_json(statuses) if json else report.show(statuses)
    report.require_healthy(statuses)


@cli.task(
    may_follow="component",
    help={
        "component": "The server, as named by sandbox.status (default: the supervisor).",
        "follow": "Print new lines as they are added.",
    },
)
def logs(c: Context, component: str = "supervisor", follow: bool = False) -> None:
    """Print the log of one server of the sandbox."""
    from sandbox import lifecycle, report, watching

    path = watching.logs(lifecycle.state(cli.checkout_settings(c)), component)
    report.print_log(path, follow=follow)


sandbox = Collection("sandbox", up, down, status, logs)
