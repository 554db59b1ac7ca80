"""Rehearse a release."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "branch": "The branch to rehearse; it determines the environment.",
        "commit": "The commit to deploy, a full SHA (default: the commit of this checkout).",
        "tag": "The version on labels.",
    }
)
def rehearse(c: Context, branch: str = "", commit: str = "", tag: str = "") -> None:
    """Run a whole release in the sandbox: secrets, manifests, deploy, upload; prints a table."""
    from sandbox.rehearsal import Rehearsal
    from tasks.lib import console

    rehearsal = Rehearsal(cli.ROOT, cli.checkout_layers(c), branch, commit, tag)
    rehearsal.run()
    console.emit(rehearsal.url)
