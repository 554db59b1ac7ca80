"""The sandbox: Google Cloud on this machine."""

from invoke import Collection, Context

from tasks import cli


@cli.task(
    help={
        "environment": "Only this environment's cluster and secrets (default: all).",
        "containers": "Add a real node, on which containers run, beside the simulated ones. Needs root.",
    },
    iterable=["environment"],
)
def up(c: Context, environment: list[str] | None = None, containers: bool = False) -> None:
    """Bring the sandbox up; what runs already is left as it is."""
    from sandbox import lifecycle, report
    from tasks.lib import console

    statuses = lifecycle.up(cli.checkout_settings(c), environment or (), containers=containers)
    report.show(statuses)
    console.say("Up. Add --sandbox to any task, or export LOOKIT_SANDBOX=1.")


@cli.task(help={"keep_data": "Keep clusters, keys, secrets and buckets for the next `sandbox.up`."})
def down(c: Context, keep_data: bool = False) -> None:
    """End the sandbox's processes and remove what it stored."""
    from sandbox import lifecycle
    from tasks.lib import console

    ended = lifecycle.down(lifecycle.state(cli.checkout_settings(c)), keep_data=keep_data)
    console.say(f"Down: {ended} processes ended." if ended else "No sandbox was running.")


@cli.task(help={"json": "Print JSON."})
def status(c: Context, json: bool = False) -> None:
    """Show every server of the sandbox: process, port, health."""
    from sandbox import lifecycle, report, watching

    here = lifecycle.state(cli.checkout_settings(c))
    statuses = watching.status(here)
    report.emit_json(statuses) if json else report.show(statuses)
    report.require_healthy(statuses)


@cli.task(
    may_follow="component",
    help={
        "component": "Which server, as sandbox.status names it (default: the supervisor).",
        "follow": "Print new lines as they are added.",
    },
)
def logs(c: Context, component: str = "supervisor", follow: bool = False) -> None:
    """Print the log of one server of the sandbox."""
    from sandbox import lifecycle, report, watching

    path = watching.logs(lifecycle.state(cli.checkout_settings(c)), component)
    report.print_log(path, follow=follow)


sandbox = Collection("sandbox", up, down, status, logs)
