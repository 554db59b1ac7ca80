"""Rehearse a release."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "branch": "The branch to rehearse; it determines the environment.",
        "commit": "The commit to deploy, a full SHA (default: that of --source, else of this checkout).",
        "tag": "The version on labels.",
        "containers": "Run containers on a real node. Needs root.",
        "source": "With --containers: the checkout of lookit-api to run (default: the sandbox's own site).",
    }
)
def rehearse(
    c: Context,
    branch: str = "",
    commit: str = "",
    tag: str = "",
    containers: bool = False,
    source: str = "",
) -> None:
    """Run a whole release in the sandbox: secrets, manifests, deploy, upload; prints a table."""
    from sandbox.rehearsal import Rehearsal, Request
    from tasks.lib import console

    folder = cli.application_source(source, containers=containers)
    request = Request(branch, commit, tag, containers, folder)
    rehearsal = Rehearsal(cli.ROOT, cli.checkout_layers(c), request)
    rehearsal.run()
    console.emit(rehearsal.url)
