"""The commit being released: its SHA, branch, tag, repository and build, under Cloud Build's names.

An option of the task wins over Cloud Build's variable, which wins over git.  Values are used in manifests,
labels and image tags, so all of them are checked here.

Source of the names: Cloud Build's default substitutions,
https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.lib import process
from tasks.lib.errors import Failure, all_problems
from tasks.lib.settings.model import Environment, Settings

COMMIT = re.compile(r"[0-9a-f]{40}")
# Kubernetes label values allow less than image tags do.
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
PLAIN = re.compile(r"[\w./:@+-]+")
LENGTH_OF_SHORT_SHA = 7
GIT_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class BuildVariables:
    """What is being released.  Field names are Cloud Build's, in lower case."""

    commit_sha: str
    branch_name: str
    tag_name: str
    repo_name: str
    build_id: str

    @property
    def short_sha(self) -> str:
        """The first seven digits of the commit."""
        return self.commit_sha[:LENGTH_OF_SHORT_SHA]

    def as_facts(self) -> dict[str, str]:
        """What the history, the lock and reports call it by."""
        return {
            "commit": self.commit_sha,
            "branch": self.branch_name,
            "tag": self.tag_name,
            "build": self.build_id,
        }

    def as_environment(self) -> dict[str, str]:
        """The six variables as Cloud Build sets them, by name."""
        return {
            "BUILD_ID": self.build_id,
            "COMMIT_SHA": self.commit_sha,
            "SHORT_SHA": self.short_sha,
            "REPO_NAME": self.repo_name,
            "BRANCH_NAME": self.branch_name,
            "TAG_NAME": self.tag_name,
        }


def read(
    settings: Settings,
    environment: Environment,
    *,
    commit: str = "",
    tag: str = "",
    environ: Mapping[str, str] | None = None,
) -> BuildVariables:
    """Collect the build variables for a release to `environment`, whose branch is BRANCH_NAME's default.

    `commit` (a full SHA-1 in hex) and `tag` win over COMMIT_SHA and TAG_NAME.
    """
    environ = os.environ if environ is None else environ
    return collect(settings, environ.get("BRANCH_NAME") or environment.branch, commit, tag, environ)


def collect(
    settings: Settings, branch: str, commit: str, tag: str, environ: Mapping[str, str]
) -> BuildVariables:
    """Collect the build variables of a commit of `branch`, for any environment.

    Raises UsageError where values are not valid; all of them are listed. Raises Failure where git could not
    find the commit. Raises TimedOut where git did not answer in time.
    """
    variables = BuildVariables(
        commit_sha=commit or environ.get("COMMIT_SHA") or commit_from_git(settings, branch),
        branch_name=branch,
        tag_name=tag or environ.get("TAG_NAME") or settings.image.default_tag,
        repo_name=environ.get("REPO_NAME") or repository_name(settings.source.repository),
        build_id=environ.get("BUILD_ID") or "local",
    )
    if problems := _problems(variables):
        raise all_problems("The build variables are not valid.", problems)
    return variables


def commit_from_git(settings: Settings, branch: str) -> str:
    """The commit to release if none is given: that of settings.source.checkout, else the branch's head."""
    if settings.source.checkout:
        checkout = settings.root / settings.source.checkout
        return _git(checkout_argv(checkout)).strip()
    answer = _git(head_argv(settings.source.repository, branch))
    if not answer:
        raise Failure(
            f"The commit to release is unknown: {settings.source.repository} has no branch {branch}.",
            next_step="Name the commit with --commit, or fix source.repository in invoke.yaml.",
        )
    return answer.split()[0]


def git(checkout: Path) -> tuple[str, ...]:
    """The beginning of a git command about `checkout`, which may be another user's (as in Cloud Build)."""
    return ("git", "-c", f"safe.directory={checkout.resolve()}", "-C", str(checkout))


def checkout_argv(checkout: Path) -> tuple[str, ...]:
    """The command that prints the commit of `checkout`."""
    return (*git(checkout), "rev-parse", "HEAD")


def head_argv(repository: str, branch: str) -> tuple[str, ...]:
    """The command that asks a remote repository for the head of a branch."""
    return ("git", "ls-remote", "--heads", repository, f"refs/heads/{branch}")


def repository_name(url: str) -> str:
    """The last part of a repository's URL, without `.git`."""
    return _parts(url)[-1]


def repository_full_name(url: str) -> str:
    """Owner and name, `lookit/lookit-api`, in a repository's URL in any form that git accepts."""
    return "/".join(_parts(url)[-2:])


def _parts(url: str) -> list[str]:
    """A URL split at slashes, and at the colon after a host as in `git@github.com:lookit/lookit-api`."""
    return re.split("[/:]", url.rstrip("/").removesuffix(".git"))


def _git(argv: tuple[str, ...]) -> str:
    try:
        done = process.run(argv, time_limit=GIT_SECONDS, env={"GIT_TERMINAL_PROMPT": "0"})
    except Failure as failure:
        raise type(failure)(
            "The commit to release is unknown: git failed.",
            str(failure),
            "Name it with --commit (the full SHA), or set COMMIT_SHA as Cloud Build does.",
        ) from failure
    return done.stdout.decode()


def _problems(variables: BuildVariables) -> list[str]:
    rules = {
        "COMMIT_SHA": (COMMIT, "the full commit SHA, 40 hexadecimal digits in lower case"),
        "TAG_NAME": (
            LABEL_VALUE,
            "at most 63 letters, digits and ._- (it becomes a label)",
        ),
    }
    problems = []
    for name, value in variables.as_environment().items():
        if name == "SHORT_SHA":
            continue
        pattern, form = rules.get(name, (PLAIN, "letters, digits and ./:@+-_ only"))
        if not pattern.fullmatch(value):
            problems.append(f"{name} is {value!r}, but should be {form}.")
    return problems
