"""The triggers in Cloud Build and the rights they need, as gcloud commands: printed, or run in order.

Each environment has a service account of its own that may do what its chain does: push and pull images,
deploy to its cluster, write its bucket, read one secret, and decrypt (never encrypt) with a key of the locked
project.
"""

import re
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.lib import console, process
from tasks.lib.build_variables import repository_full_name
from tasks.lib.deploy.backup import cloud_sql
from tasks.lib.errors import Failure, UsageError
from tasks.lib.image.reference import Reference, parse
from tasks.lib.settings.model import Environment, Settings

Commands = list[tuple[str, ...]]
SPECIAL: Final = re.compile(r"[.+*?()|\[\]{}^$\\]")
PROJECT: Final = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]*")
# Cloud Storage says it in other words: https://cloud.google.com/storage/docs/json_api/v1/status-codes#409-conflict
ALREADY_THERE: Final = re.compile("already[ _]exists|you already own it", re.IGNORECASE)
GCR_LOCATIONS: Final = {"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}


def commands(settings: Settings, project: str, environments: Iterable[Environment] | None = None) -> Commands:
    """Everything that the builds of `environments` (default: all) need in `project`, in order."""
    check_project(project)
    chosen = list(settings.environments.values() if environments is None else environments)
    databases = {one.database.project for one in chosen if one.database.instance}
    made: Commands = [cloud_sql.make_role(of) for of in sorted(databases)]
    made.append((
        "gcloud", "storage", "buckets", "create", f"gs://{settings.pipeline.reports}", f"--project={project}",
        "--uniform-bucket-level-access", "--public-access-prevention",
    ))  # fmt: skip
    for environment in chosen:
        made += account(environment, project)
        made += rights(settings, environment, project)
        made.append(trigger(settings, environment, project))
    return made


def check_project(project: str) -> None:
    """Refuse what is not a project id."""
    if not PROJECT.fullmatch(project):
        raise UsageError(
            f"{project!r} is not a project id.",
            "It has small letters, digits and dashes.",
            "gcloud projects list",
        )


def account_address(environment: Environment, project: str) -> str:
    """The service account that an environment's builds run as."""
    return f"lookit-deploy-{environment.name}@{project}.iam.gserviceaccount.com"


def account(environment: Environment, project: str) -> Commands:
    """Make the service account."""
    return [
        ("gcloud", "iam", "service-accounts", "create", f"lookit-deploy-{environment.name}",
         f"--project={project}", f"--display-name=Deploys Lookit's {environment.name}"),
    ]  # fmt: skip


def rights(settings: Settings, environment: Environment, project: str) -> Commands:
    """Grant what the chain does, each on the smallest resource that can carry it."""
    account = f"serviceAccount:{account_address(environment, project)}"
    member, kms, database = f"--member={account}", settings.kms, environment.database
    secrets = environment.secrets
    used = [*secrets.encrypted.values(), *([secrets.release_key] if secrets.seals else [])]
    keys = sorted({kms.key_name(key) for key in used})
    return [
        *(("gcloud", "projects", "add-iam-policy-binding", of, member, f"--role={role}", "--condition=None")
          for of, role in ((project, "roles/logging.logWriter"),
                           (environment.project, "roles/container.clusterViewer"))),
        *([cloud_sql.grant_role(database.project, account)] if database.instance else []),
        *image_rights(settings, member),
        *(("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}", member,
           "--role=roles/storage.objectUser")
          for bucket in (environment.buckets.archives, settings.pipeline.reports)),
        *(("gcloud", "secrets", "add-iam-policy-binding", secret, f"--project={project}", member,
           "--role=roles/secretmanager.secretAccessor") for secret in settings.pipeline.secrets),
        *(("gcloud", "kms", "keys", "add-iam-policy-binding", key, member,
           "--role=roles/cloudkms.cryptoKeyDecrypter") for key in keys),
    ]  # fmt: skip


def image_rights(settings: Settings, member: str) -> Commands:
    """Let `member` push the application's image and pull the orchestrator's, where Google keeps them."""
    pushed = artifact_repository(parse(settings.image.repository))
    pulled = artifact_repository(parse(settings.pipeline.orchestrator))
    places = [(pushed, "writer"), *([(pulled, "reader")] if pulled != pushed else [])]
    return [
        ("gcloud", "artifacts", "repositories", "add-iam-policy-binding", place.name,
         f"--location={place.location}", f"--project={place.project}", member,
         f"--role=roles/artifactregistry.{role}")
        for place, role in places if place
    ]  # fmt: skip


@dataclass(frozen=True)
class ArtifactRepository:
    """A repository of Artifact Registry."""

    location: str
    project: str
    name: str


def artifact_repository(image: Reference) -> ArtifactRepository | None:
    """Where Artifact Registry keeps an image; None for another registry's.

    It serves gcr.io's names from repositories that are called like the host:
    https://cloud.google.com/artifact-registry/docs/transition/setup-gcr-repo
    """
    project, _, path = image.repository.partition("/")
    if image.registry in GCR_LOCATIONS:
        return ArtifactRepository(GCR_LOCATIONS[image.registry], project, image.registry)
    location, is_google, _ = image.registry.partition("-docker.pkg.dev")
    return ArtifactRepository(location, project, path.partition("/")[0]) if is_google else None


def trigger(settings: Settings, environment: Environment, project: str) -> tuple[str, ...]:
    """Make the trigger: pushes to the environment's branch of the application start the chain."""
    owner, _, name = repository_full_name(settings.source.repository).rpartition("/")
    return (
        "gcloud", "builds", "triggers", "create", "github", f"--project={project}",
        f"--name=lookit-{environment.name}",
        f"--repo-owner={owner}", f"--repo-name={name}", f"--branch-pattern={pattern(environment.branch)}",
        f"--inline-config={settings.pipeline.file}", f"--substitutions=_ENVIRONMENT={environment.name}",
        f"--service-account=projects/{project}/serviceAccounts/{account_address(environment, project)}",
    )  # fmt: skip


def pattern(branch: str) -> str:
    """The regular expression, as RE2 reads it, that matches this branch and no other."""
    escaped = SPECIAL.sub(r"\\\g<0>", branch)
    return f"^{escaped}$"


def as_script(made: Sequence[tuple[str, ...]], root: Path) -> str:
    """The commands as a shell script to read, keep or run; `root` is where the build file lies."""
    return "\n".join(["set -eu", shlex.join(("cd", str(root))), *(shlex.join(argv) for argv in made)])


def require_programs(made: Sequence[tuple[str, ...]]) -> None:
    """Fail where a program that the commands start is missing."""
    if missing := sorted({argv[0] for argv in made if not shutil.which(argv[0])}):
        raise Failure(
            f"The program {missing[0]} was not found.", "It is not on PATH.",
            "Install the Google Cloud CLI, or run without --apply and run what is printed elsewhere.",
        )  # fmt: skip


def apply(made: Sequence[tuple[str, ...]], root: Path, seconds: float) -> None:
    """Run the commands in `root`, where the build file lies; what exists already is skipped.

    Raises Failure where gcloud is missing or one is refused; those before it are done, and may be run again.
    Raises TimedOut where one took too long; those before it are done.
    """
    require_programs(made)
    for argv in made:
        try:
            process.run(argv, time_limit=seconds, cwd=root)
        except Failure as failure:
            if not ALREADY_THERE.search(failure.why):
                raise type(failure)(
                    f"`{process.spelled(argv)}` failed.", failure.why or failure.what,
                    "Fix that and run the same again: what exists already is skipped.",
                ) from failure  # fmt: skip
            console.say(f"Exists already: {process.spelled(argv)}")
        else:
            console.say(f"Done: {process.spelled(argv)}")
