"""Build the application's image."""

from pathlib import Path

from invoke import Context

from tasks import cli


@cli.task(
    help={
        **cli.CHECKOUT_HELP,
        "worktree": "Build the files of the checkout as they are, uncommitted changes included.",
        "file": "The Dockerfile, within the checkout (default: build.file in invoke.yaml).",
        "platform": "The platform, such as linux/arm64 (default: build.platform in invoke.yaml).",
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
    """Build the application's image from a checkout of lookit-api, tagged with its commit."""
    from tasks.lib import console
    from tasks.lib.image import build, checkout

    settings = cli.settings(c)
    folder = checkout.folder(settings, source, Path.cwd())
    variables = checkout.variables(settings, folder, commit=commit, tag=tag, branch=branch)
    of = checkout.worktree if worktree else checkout.committed
    with of(folder, variables.commit_sha) as tree:
        for name in build.build(settings, tree, variables, file=file, platform=platform):
            console.emit(str(name))
