"""Build the application's image."""

from pathlib import Path

from invoke import Context

from tasks import cli


@cli.task(
    help={
        **cli.CHECKOUT_HELP,
        "worktree": "Take the files as they are, with those that no commit holds.",
        "file": "Another Dockerfile, within the checkout.",
        "platform": "Another platform than invoke.yaml says, such as linux/arm64.",
    }
)
def build(
    c: Context,
    source: str = "",
    commit: str = "",
    tag: str = "",
    branch: str = "",
    worktree: bool = False,
    file: str = "",
    platform: str = "",
) -> None:
    """Build the application's image from a checkout of lookit-api, named after its commit."""
    from tasks.lib import console
    from tasks.lib.image import build, checkout

    settings = cli.settings(c)
    folder = checkout.folder(settings, source, Path.cwd())
    variables = checkout.variables(settings, folder, commit=commit, tag=tag, branch=branch)
    of = checkout.worktree if worktree else checkout.committed
    with of(folder, variables.commit_sha) as tree:
        for name in build.build(settings, tree, variables, file=file, platform=platform):
            console.emit(str(name))
