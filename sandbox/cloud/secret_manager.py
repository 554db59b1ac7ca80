"""Secret Manager's `versions.access`, answered from a file for each secret of the sandbox.

Source: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

import base64
import json
from pathlib import Path

from sandbox.cloud.answers import Answer, error
from tasks.lib.files import write_atomically
from tasks.lib.redaction import Secret


def register(google: Path, project: str, secret: str, value: Secret) -> None:
    """Make the API know a secret, with `value` as its version 1; one that it knows keeps its versions."""
    if not _path(google, project, secret).exists():
        add_version(google, project, secret, value)


def add_version(google: Path, project: str, secret: str, value: Secret) -> None:
    """Add a version, which becomes the latest."""
    path = _path(google, project, secret)
    values = [*_versions(path), base64.b64encode(value.reveal()).decode()]
    write_atomically(path, json.dumps(values).encode())


def access(google: Path, project: str, secret: str, version: str) -> Answer:
    """Answer the call: 200 with the value and its checksum, or 404; `version` is a number or `latest`."""
    import google_crc32c

    name = f"projects/{project}/secrets/{secret}"
    values = _versions(_path(google, project, secret))
    if not values:
        return error(404, f"Secret [{name}] not found or has no versions.")
    number = len(values) if version == "latest" else int(version) if version.isdigit() else 0
    if not 1 <= number <= len(values):
        return error(404, f"Secret Version [{name}/versions/{version}] not found.")
    data = values[number - 1]
    checksum = google_crc32c.value(base64.b64decode(data))
    payload = {"data": data, "dataCrc32c": str(checksum)}
    return Answer(200, {"name": f"{name}/versions/{number}", "payload": payload})


def _path(google: Path, project: str, secret: str) -> Path:
    return google / "secrets" / f"{project}_{secret}.json"


def _versions(path: Path) -> list[str]:
    return list(json.loads(path.read_text())) if path.exists() else []
