"""Push the application's image."""

from pathlib import Path

from invoke import Context

from tasks import cli


@cli.task(
    help={
        **cli.CHECKOUT_HELP,
        "reuse": "Use another build of this commit if the registry has one.",
        "record": "The file to write the digest to (default: registry.record in invoke.yaml).",
    }
)
def push(
    c: Context,
    source: str = "",
    commit: str = "",
    tag: str = "",
    branch: str = "",
    reuse: bool = False,
    record: str = "",
) -> None:
    """Push the image that `build` made, record its digest, and print its name by digest."""
    from tasks.lib import console
    from tasks.lib.image import build, checkout, push

    settings = cli.settings(c)
    folder = checkout.folder(settings, source, Path.cwd())
    variables = checkout.variables(settings, folder, commit=commit, tag=tag, branch=branch)
    names = build.names(settings, variables)
    pushed = push.push(settings, names, build.following(settings, variables), reuse=reuse)
    push.record(pushed, Path.cwd() / record if record else cli.ROOT / settings.registry.record)
    console.emit(pushed.reference)
