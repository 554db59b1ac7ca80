"""The triggers in Cloud Build and the rights they need, as gcloud commands: printed, or run in order.

Each environment has a service account of its own with only what its chain does: it pushes and reads images,
deploys to its cluster, writes its bucket, reads one secret, and may decrypt (never encrypt) with a key of the
locked project.
"""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tasks.lib import console, process
from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

Commands = list[tuple[str, ...]]


def commands(settings: "Settings", project: str) -> Commands:
    """Everything that has to be made in `project`, in the order in which to make it."""
    made: Commands = []
    for environment in settings.environments.values():
        made += account(environment, project)
        made += rights(settings, environment, project)
        made.append(trigger(settings, environment, project))
    return made


def account_address(environment: "Environment", project: str) -> str:
    """The service account that an environment's builds run as."""
    return f"lookit-deploy-{environment.name}@{project}.iam.gserviceaccount.com"


def account(environment: "Environment", project: str) -> Commands:
    """Make the service account."""
    return [
        ("gcloud", "iam", "service-accounts", "create", f"lookit-deploy-{environment.name}",
         f"--project={project}", f"--display-name=Deploys Lookit's {environment.name}"),
    ]  # fmt: skip


ON_PROJECT: Final = (
    "roles/logging.logWriter", "roles/artifactregistry.writer", "roles/container.clusterViewer",
)  # fmt: skip


def rights(settings: "Settings", environment: "Environment", project: str) -> Commands:
    """Grant what the chain does, each on the smallest thing that can carry it."""
    member = f"--member=serviceAccount:{account_address(environment, project)}"
    kms = settings.kms
    keys = sorted({kms.key_name(key) for key in environment.secrets.files.values()})
    database = environment.database
    on_projects = [(environment.project, role) for role in ON_PROJECT]
    on_projects += [(database.project, "roles/cloudsql.editor")] if database.instance else []
    return [
        *(("gcloud", "projects", "add-iam-policy-binding", of, member, f"--role={role}",
           "--condition=None") for of, role in on_projects),
        ("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{environment.buckets.archives}",
         member, "--role=roles/storage.objectAdmin"),
        *(("gcloud", "secrets", "add-iam-policy-binding", secret, f"--project={project}", member,
           "--role=roles/secretmanager.secretAccessor") for secret in settings.pipeline.secrets),
        *(("gcloud", "kms", "keys", "add-iam-policy-binding", key, member,
           "--role=roles/cloudkms.cryptoKeyDecrypter") for key in keys),
    ]  # fmt: skip


def trigger(settings: "Settings", environment: "Environment", project: str) -> tuple[str, ...]:
    """Make the trigger: pushes to the environment's branch of the application start the chain."""
    owner, name = settings.source.repository.removesuffix(".git").split("/")[-2:]
    return (
        "gcloud", "builds", "triggers", "create", "github", f"--project={project}",
        f"--name=lookit-{environment.name}",
        f"--repo-owner={owner}", f"--repo-name={name}", f"--branch-pattern=^{environment.branch}$",
        f"--inline-config={settings.pipeline.file}", f"--substitutions=_ENVIRONMENT={environment.name}",
        f"--service-account=projects/{project}/serviceAccounts/{account_address(environment, project)}",
    )  # fmt: skip


def as_script(made: Sequence[tuple[str, ...]]) -> str:
    """The commands as a shell script to read, keep or run."""
    return "\n".join(["set -eu", *(shlex.join(argv) for argv in made)])


def apply(made: Sequence[tuple[str, ...]], seconds: float) -> None:
    """Run the commands; what is there already is passed over.

    Raises:
        Failure: gcloud is missing or one is refused; those before it are done, and may be run again.

    """
    for argv in made:
        try:
            process.run(argv, time_limit=seconds)
        except Failure as failure:
            if "already exists" not in failure.why.lower():
                raise Failure(
                    f"`{process.spelled(argv)}` failed.", failure.why or failure.what,
                    "Mend that and run the same again: what is there already is passed over.",
                ) from failure  # fmt: skip
            console.say(f"There already: {process.spelled(argv)}")
        else:
            console.say(f"Done: {process.spelled(argv)}")
