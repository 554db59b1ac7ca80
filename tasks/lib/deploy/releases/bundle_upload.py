"""Copying a failed deploy's support bundle and report to a bucket.

A pipeline's workspace is gone when its build fails, and Cloud Build keeps artifacts only of builds that
succeed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tasks.lib import console
from tasks.lib.errors import Failure, UsageError

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


@contextmanager
def after_failure(settings: "Settings", url: str, folders: list[Path]) -> Iterator[None]:
    """Copy the files that the block writes in `folders` to `url`, where it fails.

    Args:
        settings: how Cloud Storage is reached.
        url: `gs://BUCKET/FOLDER`; nothing is copied without one.
        folders: they need not exist; a file keeps its path, from its folder's name on.

    Raises:
        UsageError: `url` is not a folder in a bucket; nothing was begun.

    """
    bucket, _, place = url.removeprefix("gs://").partition("/")
    if url and not (url.startswith("gs://") and bucket and place):
        raise UsageError(f"--evidence-bucket is {url!r}.", next_step="Name a folder: gs://BUCKET/FOLDER")
    before = _files(folders) if url else set()
    try:
        yield
    except Failure:
        if url:
            written = sorted(_files(folders) - before)
            _copy(settings, url, {path: name for path, name, _ in written})
        raise


def _files(folders: list[Path]) -> set[tuple[Path, str, int]]:
    """The files below `folders`: path, name in the bucket, time of the last change."""
    return {
        (path, str(path.relative_to(folder.parent)), path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def _copy(settings: "Settings", url: str, names: dict[Path, str]) -> None:
    """Copy files to these names below `url`; a refusal is a warning only, beside how the deploy failed."""
    from requests import RequestException

    from tasks.lib.google.answers import refusal_words
    from tasks.lib.google.sessions import authorized_session

    bucket, _, place = url.removeprefix("gs://").partition("/")
    objects = f"{settings.google.storage}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
    limit, problem = settings.time_limits.registry_attempt, ""
    try:
        session = authorized_session(settings.google)
        for path, name in names.items():
            query = {"uploadType": "media", "name": f"{place}/{name}"}
            answer = session.post(objects, params=query, data=path.read_bytes(), timeout=limit)
            if not answer.ok:
                problem = f"{answer.status_code}: {refusal_words(answer)}"
                break
    except (Failure, OSError, RequestException) as error:
        problem = str(error)
    if problem:
        console.say(f"Warning: the evidence could not be copied to {url}: {problem}")
    else:
        console.say(f"Copied {len(names)} files of evidence to {url}.")
