"""Whether a commit may follow the deployed one: an older one may not, unless that is requested.

Two builds of one branch may reach the deploy in the wrong order, and the older would undo the newer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tasks.lib import process
from tasks.lib.build_variables import BuildVariables, git
from tasks.lib.deploy import history
from tasks.lib.deploy.history import Release
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.settings.model import Settings
from tasks.lib.workspace import workspace

GIT_SECONDS: Final = 20
SECONDS_TO_FETCH: Final = 45


def check(
    settings: Settings, environment: str, variables: BuildVariables, past: Sequence[Release]
) -> tuple[str, ...]:
    """What to know about the order of the commit and the release in force; nothing where all is well.

    `past` are the releases that are kept, the newest first.  Raises Failure where the commit is older.
    """
    present = history.last_good(past)
    there, commit = present.facts.get("commit", "") if present else "", variables.commit_sha
    if present is None or not there or there == commit:
        return ()
    try:
        is_older = is_ancestor(settings, commit, there)
    except (Failure, TimedOut) as unknown:
        reason = (unknown.why.strip() or unknown.what).splitlines()[-1]
        return (
            f"Unknown whether commit {variables.short_sha} is older than {there[:7]}, which release "
            f"{present.number} deployed ({reason}).",
        )
    if is_older:
        raise _older(environment, variables, present)
    return ()


def _older(environment: str, variables: BuildVariables, present: Release) -> Failure:
    again = f"./inv deploy --branch {variables.branch_name} --commit {variables.commit_sha} --allow-older"
    return Failure(
        f"Commit {variables.short_sha} is older than what is deployed in {environment}: nothing was changed.",
        f"Release {present.number} deployed {present.facts['commit'][:7]}, a descendant of it.",
        f"Deploy the newer commit, or the older one anyway: {again}\n"
        f"To roll back to an earlier release: ./inv release.rollback --environment {environment}",
    )


def is_ancestor(settings: Settings, commit: str, of: str) -> bool:
    """Whether `of` was made after `commit` and upon it; raises Failure where git cannot tell.

    `settings.source` says which checkout or repository knows the commits.
    """
    if settings.source.checkout:
        return _told_by(settings.root / settings.source.checkout, commit, of)
    with workspace() as folder:
        process.run(
            fetch_argv(settings.source.repository, folder),
            time_limit=SECONDS_TO_FETCH,
            env={"GIT_TERMINAL_PROMPT": "0"},
        )
        return _told_by(folder, commit, of)


def fetch_argv(repository: str, folder: Path) -> tuple[str, ...]:
    """The command that copies all commits of a repository, without their files."""
    return ("git", "clone", "--quiet", "--bare", "--filter=tree:0", "--", repository, str(folder))


def ancestor_argv(folder: Path, commit: str, of: str) -> tuple[str, ...]:
    """The command that prints nothing where `commit` is `of` or an ancestor of it."""
    return (*git(folder), "rev-list", "--max-count=1", commit, f"^{of}", "--")


def _told_by(folder: Path, commit: str, of: str) -> bool:
    found = process.run(ancestor_argv(folder, commit, of), time_limit=GIT_SECONDS)
    if not found.stdout:
        return True
    shallow = (*git(folder), "rev-parse", "--is-shallow-repository")
    if process.run(shallow, time_limit=GIT_SECONDS).stdout.strip() == b"true":
        raise Failure("The checkout is shallow: it holds only a part of the history.")
    return False
