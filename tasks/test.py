"""Run the application's tests."""

from pathlib import Path

from invoke import Context

from tasks import cli


@cli.task(
    help={
        **cli.CHECKOUT_HELP,
        "worktree": "Test the files of the checkout as they are, uncommitted changes included.",
        "file": "The Dockerfile for the tests, within the checkout (default: test.file in invoke.yaml).",
        "command": "The command, as one shell-quoted string (default: test.command in invoke.yaml).",
        "contract": "Run no test: compare what the checkout needs with what the manifests provide.",
    }
)
def test(
    c: Context,
    source: str = "",
    commit: str = "",
    tag: str = "",
    branch: str = "",
    worktree: bool = False,
    file: str = "",
    command: str = "",
    contract: bool = False,
) -> None:
    """Run the application's tests in a container, with a PostgreSQL database beside it."""
    from tasks.lib.image import checkout, test_run
    from tasks.lib.image.contract import check

    settings = cli.settings(c)
    words = test_run.words(command)
    folder = checkout.folder(settings, source, Path.cwd())
    if contract:
        check(settings, folder)
        return
    variables = checkout.variables(settings, folder, commit=commit, tag=tag, branch=branch)
    of = checkout.worktree if worktree else checkout.committed
    with of(folder, variables.commit_sha) as tree:
        test_run.run_suite(settings, tree, variables, file=file, command=words)
