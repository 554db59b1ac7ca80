"""Checks of this machine: the programs that tasks run."""

import json
import platform
import shutil
from typing import TYPE_CHECKING

from tasks.lib import process
from tasks.lib.doctor.finding import THIS_MACHINE, Check
from tasks.lib.doctor.floating import nothing_floats
from tasks.lib.errors import Failure
from tasks.lib.image import engine
from tasks.lib.render.kustomize import kubectl

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings

SECONDS = 20
OLDEST_GO = (1, 21)  # the first that fetches the release go.mod asks for by itself


def checks(settings: "Settings") -> list[Check]:
    """What every task, or some, need installed."""
    return [
        Check(THIS_MACHINE, "Python", platform.python_version),
        Check(THIS_MACHINE, "kubectl", lambda: kubectl_version(kubectl(settings))),
        Check(THIS_MACHINE, "git", lambda: version("git", "--version", mend="apt-get install git")),
        Check(THIS_MACHINE, CREDENTIALS, lambda: credentials_work(settings)),
        Check(THIS_MACHINE, "build images", lambda: nothing_floats(settings.root), needed=False),
        Check(THIS_MACHINE, "Docker engine", docker_version, needed=False),
        Check(
            THIS_MACHINE,
            "Go, for the sandbox",
            lambda: version("go", "version", mend=INSTALL_GO),
            needed=False,
        ),
    ]


CREDENTIALS = "Google credentials"
INSTALL_GO = (
    f"Install Go {'.'.join(map(str, OLDEST_GO))} or newer from https://go.dev/dl/ "
    "(only where official binaries cannot be downloaded)."
)


def version(program: str, *arguments: str, mend: str) -> str:
    """The first line that `program` says about itself.

    Raises:
        Failure: it is not installed, does not run, or says nothing.

    """
    if not shutil.which(program):
        raise Failure(f"{program} is not on PATH.", next_step=mend)
    lines = (
        process.run((program, *arguments), time_limit=SECONDS).stdout.decode(errors="replace").splitlines()
    )
    if not lines:
        asked = process.spelled((program, *arguments))
        raise Failure(f"`{asked}` says nothing.", f"It is {shutil.which(program)}.", mend)
    return lines[0]


def kubectl_version(program: str) -> str:
    """The versions of kubectl and of the kustomize in it.

    Raises:
        Failure: it is not there, or does not run.

    """
    if not shutil.which(program):
        raise Failure(
            f"{program} is no program.", "", "Leave kustomize.kubectl empty: one is installed already."
        )
    done = process.run((program, "version", "--client", "-o", "json"), time_limit=SECONDS)
    try:
        answer = json.loads(done.stdout)
        its, kustomize = answer["clientVersion"]["gitVersion"], answer["kustomizeVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(
            f"{program} is no kubectl, or one too old.", "It does not say its version and its kustomize's.",
            "Leave kustomize.kubectl empty: one is installed already.",
        ) from error  # fmt: skip
    return f"{its} with kustomize {kustomize} ({program})"


def docker_version() -> str:
    """The version of the Docker engine that answers.

    Raises:
        Failure: there is no client, no engine behind it, or not for this user.

    """
    if not shutil.which("docker"):
        raise Failure(
            "docker is not on PATH (build, test and push need it).", next_step="apt-get install docker.io"
        )
    return engine.versions(SECONDS).split()[-1]


def credentials_work(settings: "Settings") -> str:
    """Whose credentials these are; Google issues a token for them.

    Raises:
        Failure: there are none, or Google refuses them.

    """
    from tasks.lib.google.credentials import Tokens, credentials

    found = credentials(settings.google)
    Tokens(found)()
    return str(getattr(found, "service_account_email", "") or "a user's credentials")
