"""Everything that an environment needs before its first deploy, in order: gcloud commands, and steps by hand.

Each part says why it is needed.  What needs a password, a person's browser or another company's console is
described, not run: a password never stands in a command line.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib import console
from tasks.lib.deploy.backup import exports
from tasks.lib.image.reference import parse
from tasks.lib.pipeline import triggers
from tasks.lib.pipeline.triggers import Commands
from tasks.lib.settings.model import Environment, Settings

APIS: Final = (
    "artifactregistry", "cloudbuild", "cloudkms", "compute", "container", "iam", "secretmanager", "sqladmin",
    "storage",
)  # fmt: skip
KUBECONFIG: Final = "KUBECONFIG=build/setup/kubeconfig"
ROLE_FILE: Final = "docs/deployer-role.yaml"
ACCOUNT_IN_ROLE_FILE: Final = "deployer@mit-lookit.iam.gserviceaccount.com"
# Of one command, in seconds: a cluster or a database takes ten minutes.
TIME_LIMIT: Final = 1800.0


@dataclass(frozen=True)
class Part:
    """One part of an environment: why it is needed, the commands that create it, what is left to a person."""

    title: str
    why: str
    commands: Sequence[tuple[str, ...]] = ()
    by_hand: Sequence[str] = ()


def parts(settings: Settings, environment: Environment, project: str) -> list[Part]:
    """All parts of `environment`, in the order in which to create them; builds run in `project`.

    Raises:
        UsageError: `project` is not a project id.

    """
    triggers.check_project(project)
    return [
        _apis(settings, environment, project),
        _registry(settings),
        _keys(settings, environment),
        _bucket(environment),
        *([_database(settings, environment)] if environment.database.instance else []),
        *([_private_bucket(environment)] if environment.buckets.private else []),
        _cluster(environment),
        _address(environment),
        _add_ons(environment),
        _application(environment),
        _builds(settings, environment, project),
        _deployer(environment, project),
        _secrets(environment),
    ]


def as_script(made: Sequence[Part], settings: Settings) -> str:
    """The parts as a shell script to read, keep or run; what is to be done by hand stands in comments."""
    lines = ["set -eu", shlex.join(("cd", str(settings.root)))]
    for number, part in enumerate(made, 1):
        lines += ["", f"# {number}. {part.title}: {part.why}"]
        lines += [shlex.join(argv) for argv in part.commands]
        lines += [f"# By hand: {line}" for line in part.by_hand]
    return "\n".join(lines)


def apply(made: Sequence[Part], settings: Settings) -> None:
    """Run the commands of all parts in order; what exists is skipped.  What is left to a person comes last.

    Raises:
        Failure: a program is missing or a command is refused; those before it are done, and may run again.
        TimedOut: a command took too long; those before it are done.

    """
    triggers.require_programs([argv for part in made for argv in part.commands])
    for number, part in enumerate(made, 1):
        if part.commands:
            console.heading(f"{number}. {part.title}: {part.why}")
            triggers.apply(part.commands, settings.root, TIME_LIMIT)
    console.heading("Left to do by hand, in this order")
    left = [line for part in made for line in part.by_hand]
    for number, line in enumerate(left, 1):
        console.say(f"{number}. {line}")


def _apis(settings: Settings, environment: Environment, project: str) -> Part:
    names = [f"{name}.googleapis.com" for name in APIS]
    used = sorted(
        {project, environment.project, *_projects_of_database(environment)} - {settings.kms.project}
    )
    return Part(
        "APIs", "a project's services are off until they are enabled",
        [
            *(("gcloud", "services", "enable", *names, f"--project={of}") for of in used),
            ("gcloud", "services", "enable", "cloudkms.googleapis.com", f"--project={settings.kms.project}"),
        ],
    )  # fmt: skip


def _projects_of_database(environment: Environment) -> list[str]:
    return [environment.database.project] if environment.database.instance else []


def _registry(settings: Settings) -> Part:
    images = (settings.image.repository, settings.pipeline.orchestrator)
    found = {triggers.artifact_repository(parse(image)) for image in images} - {None}
    commands = [
        ("gcloud", "artifacts", "repositories", "create", place.name, f"--location={place.location}",
         f"--project={place.project}", "--repository-format=docker")
        for place in found if place
    ]  # fmt: skip
    return Part("Image registry", "`push` stores images here, and the cluster pulls them", sorted(commands))


def _keys(settings: Settings, environment: Environment) -> Part:
    kms, secrets = settings.kms, environment.secrets
    where = (f"--location={kms.location}", f"--project={kms.project}")
    names = sorted({*secrets.encrypted.values(), *([secrets.release_key] if secrets.seals else [])})
    return Part(
        "Keys", "secrets are encrypted with keys of a project that deployers cannot change",
        [
            ("gcloud", "kms", "keyrings", "create", kms.key_ring, *where),
            *(("gcloud", "kms", "keys", "create", name, f"--keyring={kms.key_ring}", *where,
               "--purpose=encryption") for name in names if "/" not in name),
        ],
        [f"Leave only the key owners in the project {kms.project}: docs/security.md, Keys."],
    )  # fmt: skip


def _bucket(environment: Environment) -> Part:
    bucket = f"gs://{environment.buckets.archives}"
    return Part(
        "Bucket", "it holds Ember apps, static and media files, which the site serves to everyone",
        [
            ("gcloud", "storage", "buckets", "create", bucket, f"--project={environment.project}",
             f"--location={region(environment.zone)}", "--uniform-bucket-level-access"),
            ("gcloud", "storage", "buckets", "add-iam-policy-binding", bucket, "--member=allUsers",
             "--role=roles/storage.legacyObjectReader"),
        ],
        [f"Configure the bucket: ./inv ember.bucket --environment {environment.name} --apply"],
    )  # fmt: skip


def _private_bucket(environment: Environment) -> Part:
    bucket = f"gs://{environment.buckets.private}"
    by_hand = ["Name it in the secrets, as GS_PRIVATE_BUCKET_NAME."]
    if environment.database.instance:
        by_hand.append(f"Let the database write dumps into it; {exports.grant(environment, '')}")
    return Part(
        "Private bucket", "the application's private files, and dumps of the database, are only for us",
        [("gcloud", "storage", "buckets", "create", bucket, f"--project={environment.project}",
          f"--location={region(environment.zone)}", "--uniform-bucket-level-access",
          "--public-access-prevention")],
        by_hand,
    )  # fmt: skip


def _database(settings: Settings, environment: Environment) -> Part:
    database = environment.database
    where = f"--project={database.project}"
    major = settings.test.database_image.rpartition(":")[2].partition(".")[0]
    of = (f"--instance={database.name}", where)
    create_user = shlex.join(("gcloud", "sql", "users", "create", "lookit", *of))
    set_password = shlex.join(
        ("gcloud", "sql", "users", "set-password", "lookit", *of, "--prompt-for-password")
    )
    return Part(
        "Database", f"PostgreSQL {major}, the version that the application is tested with",
        [
            ("gcloud", "sql", "instances", "create", database.name, where,
             f"--database-version=POSTGRES_{major}", "--edition=enterprise", "--tier=db-custom-2-7680",
             f"--region={database.region}", "--storage-auto-increase", "--backup-start-time=06:00",
             "--enable-point-in-time-recovery", "--deletion-protection"),
            ("gcloud", "sql", "databases", "create", "lookit", *of),
        ],
        [f"Create the user for DB_USER and DB_PASSWORD (DB_NAME is lookit): {create_user} && {set_password}"],
    )  # fmt: skip


def _cluster(environment: Environment) -> Part:
    return Part(
        "Cluster", "two nodes, so that a rollout and the upgrade of a node fit beside what runs",
        [
            ("gcloud", "container", "clusters", "create", environment.cluster,
             f"--location={environment.zone}", f"--project={environment.project}",
             "--release-channel=regular", "--machine-type=e2-standard-4", "--num-nodes=2",
             "--enable-dns-access"),
        ],
    )  # fmt: skip


def _address(environment: Environment) -> Part:
    name, at = f"{environment.cluster}-ingress", f"--region={region(environment.zone)}"
    where = (name, at, f"--project={environment.project}")
    shown = shlex.join(("gcloud", "compute", "addresses", "describe", *where, "--format=value(address)"))
    return Part(
        "Static address", "DNS records point to it, so it must survive the ingress controller",
        [("gcloud", "compute", "addresses", "create", *where)],
        [f"Create DNS records of type A for {environment.host} and for the secondary domain in the overlay's "
         f"Ingress, with this address: {shown}"],
    )  # fmt: skip


def _add_ons(environment: Environment) -> Part:
    return Part(
        "Add-ons", "the manifests contain Ingresses of class nginx and a ClusterIssuer of cert-manager",
        by_hand=[
            "Write the static address into invoke.yaml, as addons.ingress-nginx.addresses."
            f"{environment.name}. Then install ingress-nginx and cert-manager: "
            f"./inv cluster.addons --environment {environment.name} --apply"
        ],
    )  # fmt: skip


def _application(environment: Environment) -> Part:
    """The accounts that pods use: one for the database's proxy, one for the application."""
    project, bucket = environment.project, f"gs://{environment.buckets.archives}"
    proxy, application = f"lookit-cloudsql-{environment.name}", f"lookit-app-{environment.name}"
    address = "{}@" + f"{project}.iam.gserviceaccount.com"
    commands: Commands = [
        ("gcloud", "iam", "service-accounts", "create", name, f"--project={project}",
         f"--display-name={title}")
        for name, title in ((proxy, "Lookit database proxy"), (application, "Lookit application"))
    ]  # fmt: skip
    commands += [
        ("gcloud", "projects", "add-iam-policy-binding", of,
         f"--member=serviceAccount:{address.format(proxy)}", "--role=roles/cloudsql.client",
         "--condition=None")
        for of in _projects_of_database(environment)
    ]  # fmt: skip
    commands.append((
        "gcloud", "storage", "buckets", "add-iam-policy-binding", bucket,
        f"--member=serviceAccount:{address.format(application)}", "--role=roles/storage.objectUser",
    ))  # fmt: skip
    return Part(
        "The application's accounts", "pods reach the database and the bucket as these, and nothing else",
        commands,
        [_key_file(environment, file, address.format(account))
         for file, account in (("cloudsql-client-creds.json", proxy), ("googleAppCreds.json", application))],
    )  # fmt: skip


def _key_file(environment: Environment, file: str, address: str) -> str:
    """How a key of an account becomes an encrypted file; in between it lies in memory."""
    path = f"/dev/shm/{file}"  # noqa: S108 - named for a person; the key is encrypted from there and removed
    return " && ".join(
        shlex.join(argv)
        for argv in (
            ("gcloud", "iam", "service-accounts", "keys", "create", path, f"--iam-account={address}"),
            ("./inv", "secrets.encrypt", file, f"--environment={environment.name}", f"--source={path}"),
            ("rm", path),
        )
    )


def _builds(settings: Settings, environment: Environment, project: str) -> Part:
    secrets: Commands = [
        ("gcloud", "secrets", "create", name, f"--project={project}", "--replication-policy=automatic")
        for name in settings.pipeline.secrets
    ]
    return Part(
        "Cloud Build", f"a push to {environment.branch} starts the pipeline, with an account of its own",
        [*secrets, *triggers.commands(settings, project, [environment])],
        [f"Give the secret its value: gcloud secrets versions add {name} --project={project} --data-file=-"
         for name in settings.pipeline.secrets],
    )  # fmt: skip


def _deployer(environment: Environment, project: str) -> Part:
    replaced = (
        f"s/{ACCOUNT_IN_ROLE_FILE}/{triggers.account_address(environment, project)}/; "
        f"s/namespace: default/namespace: {environment.namespace}/"
    )
    apply_role = f"{shlex.join(('sed', replaced, ROLE_FILE))} | {KUBECONFIG} kubectl apply --filename=-"
    return Part(
        "The deployer's rights in the cluster", "an account of Google has none there by itself",
        [
            ("mkdir", "-p", "build/setup"),
            ("env", KUBECONFIG, "gcloud", "container", "clusters", "get-credentials", environment.cluster,
             f"--location={environment.zone}", f"--project={environment.project}", "--dns-endpoint"),
            ("sh", "-c", apply_role),
        ],
    )  # fmt: skip


def _secrets(environment: Environment) -> Part:
    of = f"--environment={environment.name}"
    return Part(
        "Secrets", "the deploy decrypts them; `doctor` lists files and keys that are missing",
        by_hand=[
            "Create the other encrypted files (docs/secrets.md) and the release key (docs/rollback.md). Then "
            f"check everything: ./inv doctor {of}",
        ],
    )  # fmt: skip


def region(zone: str) -> str:
    """The region of a zone (us-east1-d is in us-east1); a region is its own."""
    head, _, letter = zone.rpartition("-")
    return head if len(letter) == 1 else zone
