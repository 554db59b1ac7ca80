"""Rehearse a release."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "branch": "The branch to rehearse; it determines the environment.",
        "commit": "The commit to deploy, a full SHA (default: the commit of this checkout).",
        "tag": "The version on labels.",
        "containers": "Run containers on a real node, with the sandbox's own application. Needs root.",
    }
)
def rehearse(c: Context, branch: str = "", commit: str = "", tag: str = "", containers: bool = False) -> None:
    """Run a whole release in the sandbox: secrets, manifests, deploy, upload; prints a table."""
    from sandbox.rehearsal import Rehearsal, Request
    from tasks.lib import console

    request = Request(branch, commit, tag, containers)
    rehearsal = Rehearsal(cli.ROOT, cli.checkout_layers(c), request)
    rehearsal.run()
    console.emit(rehearsal.url)
