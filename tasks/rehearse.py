"""Rehearse a release."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "branch": "The branch to rehearse; it decides on the environment.",
        "commit": "The commit to deploy, in full (default: the one this checkout stands on).",
        "tag": "The version to put on labels.",
    }
)
def rehearse(c: Context, branch: str = "", commit: str = "", tag: str = "") -> None:
    """Run the whole main job in the sandbox: secrets, manifests, deploy, upload; ends with a table."""
    from sandbox.rehearsal import Rehearsal
    from tasks.lib import console

    rehearsal = Rehearsal(cli.ROOT, cli.checkout_layers(c), branch, commit, tag)
    rehearsal.run()
    console.emit(rehearsal.url)
