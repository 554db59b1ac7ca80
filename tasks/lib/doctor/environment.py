"""Checks of one environment: manifests, secrets, cluster and permissions, bucket, backups."""

from collections.abc import Mapping, Sequence
from http.client import NOT_FOUND, OK
from pathlib import Path
from typing import Any, Final

from tasks.lib.doctor import machine
from tasks.lib.doctor.checks import Check
from tasks.lib.doctor.machine import CREDENTIALS
from tasks.lib.errors import Failure
from tasks.lib.settings.model import Environment, Settings

TO_UPLOAD: Final = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.update",
)


def all_checks(settings: Settings, environments: Sequence[Environment]) -> list[Check]:
    """The checks of this machine and of `environments`."""
    found = machine.checks(settings)
    for environment in environments:
        found += checks(settings, environment)
    return found


def checks(settings: Settings, environment: Environment) -> list[Check]:
    """What a deploy to `environment` needs."""
    area = environment.name
    return [
        Check(area, "manifests", lambda: manifests(settings, environment)),
        Check(area, "encrypted files", lambda: encrypted_files(settings, environment)),
        Check(area, "release key", lambda: release_key(settings, environment), needed=False),
        Check(
            area, "secrets decrypt", lambda: secrets_decrypt(settings, environment),
            after=(CREDENTIALS, "encrypted files"),
        ),
        Check(
            area, "cluster and permissions", lambda: cluster(settings, environment),
            after=(CREDENTIALS, "manifests"),
        ),
        Check(
            area, "add-ons", lambda: add_ons(settings, environment), needed=False,
            after=(CREDENTIALS, "manifests"),
        ),
        Check(area, "bucket", lambda: bucket(settings, environment), after=(CREDENTIALS,)),
        Check(area, "database backups", lambda: backups(settings, environment), after=(CREDENTIALS,)),
    ]  # fmt: skip


def manifests(settings: Settings, environment: Environment) -> str:
    """Whether the overlay exists."""
    overlay = settings.tree / environment.overlay
    if not overlay.is_dir():
        why = f"{overlay} is not a folder."
        raise Failure("The overlay does not exist.", why, f"Fix environments.{environment.name}.overlay.")
    return f"{settings.kustomize.tree}/{environment.overlay}"


def encrypted_files(settings: Settings, environment: Environment) -> str:
    """Whether the owner of the key has added every encrypted file.

    Raises Failure where some are missing; the message names them.
    """
    from tasks.lib.secrets.files import secret_files

    files = secret_files(settings, environment)
    if missing := [file.shown for file in files if not _is_there(file.ciphertext)]:
        raise Failure(
            f"{len(missing)} of {len(files)} encrypted files are missing; the owner of the key adds them.",
            "\n".join(missing),
            "Copy an existing set (docs/adopt.md), or encrypt new ones (docs/secrets.md).",
        )
    return f"{len(files)} files"


def release_key(settings: Settings, environment: Environment) -> str:
    """Whether there is a key to seal releases with.

    Raises Failure where there is none, so every rollback has to be confirmed.
    """
    from tasks.lib.secrets.files import RELEASE_KEY, one_file

    if not environment.secrets.seals:
        raise Failure("Releases are not sealed: secrets.release_key is empty.", "", "See docs/rollback.md.")
    file = one_file(settings, environment, RELEASE_KEY)
    if not _is_there(file.ciphertext):
        raise Failure(
            "Releases are not sealed, so each rollback asks for confirmation.", f"There is no {file.shown}.",
            "docs/rollback.md shows how the owner of the key creates it.",
        )  # fmt: skip
    return file.shown


def _is_there(ciphertext: Path) -> bool:
    """Whether an encrypted file exists and is not empty."""
    return ciphertext.is_file() and ciphertext.stat().st_size > 0


def secrets_decrypt(settings: Settings, environment: Environment) -> str:
    """Whether every file can be decrypted and has the keys that the manifests need.

    Raises Failure where a file cannot be decrypted, or lacks keys.
    """
    from tasks.lib.secrets.crypt import decrypt_all
    from tasks.lib.secrets.expected import lacking
    from tasks.lib.secrets.files import secret_files

    plaintexts = decrypt_all(settings, environment)
    absent = [
        f"{file.name} lacks {key}"
        for file in secret_files(settings, environment)
        for key in lacking(file, plaintexts[file.name])
    ]
    if absent:
        what = "The secrets lack keys that the manifests need."
        raise Failure(what, "\n".join(absent), "The owner of the key adds them: see docs/secrets.md.")
    return f"{len(plaintexts)} files, all expected keys"


def cluster(settings: Settings, environment: Environment) -> str:
    """Whether the cluster answers, is the right one, and grants the permissions that a deploy needs.

    Raises Failure where it does not answer, is another cluster, or permissions are missing.
    """
    from tasks.lib.cluster import gke, rbac
    from tasks.lib.cluster.gke import connect
    from tasks.lib.deploy.objects import wanted

    connection = connect(settings, environment)
    try:
        gke.check_mark(connection.api, environment)
        objects = wanted(_contents(settings, environment), connection.kinds, environment.namespace)
        keys = [(o.ref.api_version, o.ref.kind) for o in objects]
        if unknown := sorted({kind for api, kind in keys if (api, kind) not in connection.kinds}):
            what = f"The cluster does not know {', '.join(unknown)}."
            install = f"An administrator installs it: ./inv cluster.addons -e {environment.name} --apply"
            raise Failure(what, "Its CustomResourceDefinition is missing.", install)
        used = {(connection.kinds[key], o.ref.namespace) for key, o in zip(keys, objects, strict=True)}
        asked = rbac.needed(used, environment.namespace)
        rbac.require(connection.api, asked)
    finally:
        connection.api.close()
    return f"{connection.found.name}; all {len(asked)} permissions"


def add_ons(settings: Settings, environment: Environment) -> str:
    """Whether ingress-nginx and cert-manager are there, healthy, and serve what the manifests name.

    Raises Failure where one is missing or not healthy, or the cluster cannot be asked.
    """
    from tasks.lib.cluster import gke
    from tasks.lib.doctor import add_ons as parts

    contents = _contents(settings, environment)
    with gke.reached(settings, environment) as connection:
        return parts.look(settings, environment, connection, contents)


def _contents(settings: Settings, environment: Environment) -> list[Mapping[str, Any]]:
    """The objects of the tree, rendered with placeholders: only their kinds matter."""
    from tasks.lib.build_variables import BuildVariables
    from tasks.lib.redaction import Secret
    from tasks.lib.render.rendering import render

    nothing = dict.fromkeys(environment.secrets.files, Secret(b""))
    release = BuildVariables(
        commit_sha="0" * 40,
        branch_name=environment.branch,
        tag_name="doctor",
        repo_name="none",
        build_id="none",
    )
    return [document.content for document in render(settings, environment, release, nothing).documents]


def bucket(settings: Settings, environment: Environment) -> str:
    """Whether the bucket exists and archives may be uploaded to it.

    Raises Failure where it does not exist, does not answer, or permissions are missing.
    """
    from requests import RequestException

    from tasks.lib.google.answers import object_in
    from tasks.lib.google.sessions import authorized_session

    name = environment.buckets.archives
    session, limit = authorized_session(settings.google), settings.time_limits.storage_attempt
    root = f"{settings.google.storage}/storage/v1/b/{name}"
    try:
        listing = session.get(f"{root}/o", params={"maxResults": 1}, timeout=limit)
        granted = session.get(f"{root}/iam/testPermissions", params={"permissions": TO_UPLOAD}, timeout=limit)
    except RequestException as error:
        raise Failure(f"Cloud Storage does not answer at {settings.google.storage}.", str(error)) from error
    if listing.status_code != OK:
        raise _no_bucket(name, listing.status_code, listing.text)
    service = f"Cloud Storage at {settings.google.storage}"
    object_in(listing, service)
    # Google answers this request; not every storage emulator does.
    held = object_in(granted, service).get("permissions", []) if granted.status_code == OK else TO_UPLOAD
    if lacking := set(TO_UPLOAD) - set(held):
        raise Failure(
            f"Missing permission to upload to {name}.", f"Missing: {', '.join(sorted(lacking))}.", grant(name)
        )
    return f"gs://{name}"


def backups(settings: Settings, environment: Environment) -> str:
    """Whether the backups of the database can be read; the permission to take one cannot be checked.

    Raises Failure where the instance does not exist, the API is not enabled, or permissions are missing.
    """
    from tasks.lib.deploy.backup.cloud_sql import Backups
    from tasks.lib.google.sessions import authorized_session

    database = environment.database
    if not database.instance:
        return "no backups: the environment has no Cloud SQL instance"
    session = authorized_session(settings.google)
    latest = Backups(settings, database, session, lambda event: None).latest()
    newest = f"{latest.enqueued:%Y-%m-%d %H:%M} UTC, {latest.status.lower()}" if latest else "none"
    return f"{database.instance}; latest backup {newest}"


def grant(bucket_name: str) -> str:
    """The command that grants permission to upload."""
    return (
        f"gcloud storage buckets add-iam-policy-binding gs://{bucket_name} "
        "--member=user:YOU --role=roles/storage.objectUser"
    )


def _no_bucket(name: str, status: int, words: str) -> Failure:
    if status == NOT_FOUND:
        return Failure(
            f"There is no bucket {name}.", "", "Fix environments.*.buckets.archives in invoke.yaml."
        )
    return Failure(f"The bucket {name} cannot be listed (HTTP {status}).", words[:300], grant(name))
