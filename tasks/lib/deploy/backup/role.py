"""The right to back a database up, as a role of its own: predefined ones may change the instance as well."""

from typing import Final

NAME: Final = "lookitDatabaseBackup"
# Taking a backup, following its operation, and, for the doctor, showing the latest.
PERMISSIONS: Final = ("cloudsql.backupRuns.create", "cloudsql.backupRuns.list", "cloudsql.instances.get")


def full_name(project: str) -> str:
    """The name that the role is granted by."""
    return f"projects/{project}/roles/{NAME}"


def make(project: str) -> tuple[str, ...]:
    """The command that makes the role."""
    return (
        "gcloud", "iam", "roles", "create", NAME, f"--project={project}", "--title=Lookit database backup",
        "--stage=GA", f"--permissions={','.join(PERMISSIONS)}",
    )  # fmt: skip


def grant(project: str, member: str) -> tuple[str, ...]:
    """The command that grants the role in `project`."""
    return (
        "gcloud", "projects", "add-iam-policy-binding", project, f"--member={member}",
        f"--role={full_name(project)}", "--condition=None",
    )  # fmt: skip
