"""Dumps of databases that Cloud SQL writes into buckets: here, into the sandbox's storage server."""

import gzip
from pathlib import Path
from urllib.parse import quote

import requests

from sandbox.components import STORAGE
from sandbox.state import State, stored

SECONDS = 10
NO_BUCKET = "The specified bucket does not exist."


def has_bucket(google: Path, bucket: str) -> bool:
    """Whether there is such a bucket."""
    return requests.get(f"{_storage(google)}/storage/v1/b/{bucket}", timeout=SECONDS).ok


def write(google: Path, bucket: str, name: str, content: str) -> str:
    """Write a dump into a bucket, compressed; returns why that failed, else nothing."""
    objects, path = f"b/{bucket}/o", quote(name, safe="")
    if requests.get(f"{_storage(google)}/storage/v1/{objects}/{path}", timeout=SECONDS).ok:
        return f"The file gs://{bucket}/{name} already exists."
    requests.post(
        f"{_storage(google)}/upload/storage/v1/{objects}?uploadType=media&name={path}",
        data=gzip.compress(content.encode()),
        headers={"Content-Type": "application/octet-stream"},
        timeout=SECONDS,
    ).raise_for_status()
    return ""


def _storage(google: Path) -> str:
    return f"http://127.0.0.1:{stored(State(google.parent).ports)[STORAGE]}"
