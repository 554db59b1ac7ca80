"""Objects of a bucket: relabelled and removed through the JSON API."""

import json
from collections.abc import Callable
from urllib.parse import urlencode

from tasks.lib.ember.access import Access
from tasks.lib.ember.persistence import ask, refused
from tasks.lib.ember.plan import Relabel
from tasks.lib.ember.remote import Remote
from tasks.lib.ember.wire import Job, Pause, Request, Steps
from tasks.lib.errors import Failure

JSON = "Content-Type: application/json"


def relabelled(access: Access, change: Relabel, done: Callable[[Relabel], None]) -> Job:
    """A job that gives an object other headers."""

    def steps() -> Steps:
        query = urlencode({"ifGenerationMatch": change.generation, "fields": "generation"})
        body = json.dumps(
            {
                "contentType": change.entry.headers.content_type,
                "cacheControl": change.entry.headers.cache_control,
            }
        )
        request = Request("PATCH", f"{access.object_url(change.name)}?{query}", (JSON,), body.encode())
        response = yield from ask(request, access, access.deadline())
        # 404: a pruning removed it.  The bucket is there: it was listed.
        if response.status in {404, 412}:
            raise changed_meanwhile(change.name)
        if response.status != 200:
            raise refused(response, access, f"The headers of {change.name} could not be changed.")
        done(change)

    return Job(steps())


def removed(
    access: Access, there: Remote, done: Callable[[str], None], changed: Callable[[str], None] | None = None
) -> Job:  # fmt: skip
    """A job that removes an object, provided it is still the one that was listed.

    Args:
        access: the bucket.
        there: the object.
        done: called with its name once it is gone.
        changed: called instead where somebody else wrote it since; without it, that is a Failure.

    """

    def steps() -> Steps:
        query = urlencode({"ifGenerationMatch": there.generation})
        request = Request("DELETE", f"{access.object_url(there.name)}?{query}")
        response = yield from ask(request, access, access.deadline())
        if response.status == 412 and changed:
            changed(there.name)
            return
        if response.status == 412:
            raise changed_meanwhile(there.name)
        # 404: an earlier attempt succeeded and its answer was lost, or somebody else was faster.
        if response.status not in {200, 204, 404}:
            raise refused(response, access, f"{there.name} could not be removed.")
        done(there.name)

    return Job(steps())


def paced(access: Access, name: str, job: Job) -> Job:
    """The same job, which writes the object `name`, begun once Cloud Storage takes another write of it."""

    def steps() -> Steps:
        if (left := access.until_writable(name)) > 0:
            yield Pause(left)
        yield from job.steps
        access.wrote(name)

    return Job(steps(), job.held, job.alone)


def ignore(*_told: object) -> None:
    """Count nothing of what is done: for who needs to know only that it is."""


class Changed(Failure):
    """An object is not as it was when the bucket was listed."""


def changed_meanwhile(name: str) -> Changed:
    """The error for an object that somebody else wrote."""
    return Changed(
        f"{name} was changed by somebody else during this upload.",
        "Its generation is no longer the one that was listed.",
        "Run the same command again once the other upload, or pruning, has ended.",
    )
