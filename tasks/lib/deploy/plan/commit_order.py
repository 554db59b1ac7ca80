"""Whether a commit may follow the release in force: one that is known to be older does not, unless asked for.

Two builds of one branch may reach the deploy in the wrong order, and the older would undo the newer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.lib import ancestry
from tasks.lib.deploy.releases import history
from tasks.lib.deploy.releases.history import Past
from tasks.lib.errors import Failure, TimedOut

if TYPE_CHECKING:
    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.settings.model import Settings


def check(
    settings: "Settings", environment: str, variables: "BuildVariables", past: Sequence[Past]
) -> tuple[str, ...]:
    """What to know about the order of the commit and the release in force; nothing where all is well.

    Args:
        settings: where git is asked.
        environment: its name.
        variables: what is deployed.
        past: the releases that are kept, the newest first.

    Raises:
        Failure: the commit is older than the one in force.

    """
    present = history.last_good(past)
    there, commit = present.facts.get("commit", "") if present else "", variables.commit_sha
    if present is None or not there or there == commit:
        return ()
    try:
        is_older = ancestry.is_ancestor(settings, commit, there)
    except (Failure, TimedOut) as unknown:
        reason = (unknown.why.strip() or unknown.what).splitlines()[-1]
        return (
            f"Whether commit {variables.short_sha} is older than {there[:7]} of release {present.number}, "
            f"which is in force, is not known ({reason}).",
        )
    if is_older:
        raise _older(environment, variables, present)
    return ()


def _older(environment: str, variables: "BuildVariables", present: Past) -> Failure:
    again = f"./inv deploy --branch {variables.branch_name} --commit {variables.commit_sha} --allow-older"
    return Failure(
        f"Commit {variables.short_sha} is older than what is deployed in {environment}: nothing was changed.",
        f"Release {present.number} deployed {present.facts['commit'][:7]}, which was made upon it.",
        f"Deploy the newer commit, or go back on purpose: {again}\n"
        f"An earlier release comes back with ./inv release.rollback --environment {environment}",
    )
