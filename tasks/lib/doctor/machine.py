"""Checks of this machine: the programs that tasks run, and the credentials."""

import json
import platform
import shutil

from tasks.lib import go, process
from tasks.lib.doctor.checks import THIS_MACHINE, Check
from tasks.lib.doctor.pinned import all_pinned
from tasks.lib.errors import Failure
from tasks.lib.image import engine
from tasks.lib.render.kustomize import kubectl
from tasks.lib.settings.model import Settings

SECONDS = 20
CREDENTIALS = "Google credentials"
BUILT_IN = "Leave kustomize.kubectl empty: the pinned kubectl is used then."


def checks(settings: Settings) -> list[Check]:
    """What all tasks, or some, need on this machine."""
    return [
        Check(THIS_MACHINE, "Python", platform.python_version),
        Check(THIS_MACHINE, "kubectl", lambda: kubectl_version(kubectl(settings))),
        Check(THIS_MACHINE, "git", git_version),
        Check(THIS_MACHINE, CREDENTIALS, lambda: credentials_work(settings)),
        Check(THIS_MACHINE, "build images", lambda: all_pinned(settings.root), needed=False),
        Check(THIS_MACHINE, "Docker engine", docker_version, needed=False),
        Check(THIS_MACHINE, "Go, for the sandbox", go_version, needed=False),
    ]


def git_version() -> str:
    """The version of git.

    Raises Failure where it is not installed, does not run, or prints nothing.
    """
    install = "apt-get install git"
    path = shutil.which("git")
    if not path:
        raise Failure("git is not on PATH.", next_step=install)
    printed = process.run(("git", "--version"), time_limit=SECONDS).stdout.decode(errors="replace")
    if not printed.strip():
        raise Failure("`git --version` prints nothing.", f"It is {path}.", install)
    return printed.splitlines()[0]


def go_version() -> str:
    """The version of Go.

    Raises Failure where it is not installed, or too old.
    """
    try:
        return go.version(go.command())
    except Failure as failure:
        why = failure.why or "The sandbox needs it only where official binaries cannot be downloaded."
        raise Failure(failure.what, why, failure.next_step) from failure


def kubectl_version(program: str) -> str:
    """The versions of kubectl and of the kustomize in it.

    Raises Failure where it is missing, does not run, or is too old.
    """
    if not shutil.which(program):
        raise Failure(f"{program} is not a program.", "", BUILT_IN)
    done = process.run((program, "version", "--client", "-o", "json"), time_limit=SECONDS)
    try:
        answer = json.loads(done.stdout)
        its, kustomize = answer["clientVersion"]["gitVersion"], answer["kustomizeVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(
            f"{program} is not kubectl, or is too old.",
            "It does not print its own version and that of kustomize.", BUILT_IN,
        ) from error  # fmt: skip
    return f"{its} with kustomize {kustomize} ({program})"


def docker_version() -> str:
    """The version of the Docker engine.

    Raises Failure where there is no client or no engine, or this user may not use it.
    """
    if not shutil.which("docker"):
        raise Failure(
            "docker is not on PATH (build, test and push need it).", next_step="apt-get install docker.io"
        )
    return engine.versions(SECONDS).split()[-1]


def credentials_work(settings: Settings) -> str:
    """Whose credentials they are, after Google issued a token for them.

    Raises Failure where there are none, or Google refuses them.
    """
    from tasks.lib.google.credentials import Tokens, credentials

    found = credentials(settings.google)
    Tokens(found)()
    return str(getattr(found, "service_account_email", "") or "a user's credentials")
