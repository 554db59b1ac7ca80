"""Reading single objects of a bucket: what the API says of one, and a small one's content."""

import zlib
from urllib.parse import urlencode

from tasks.lib.ember import content
from tasks.lib.ember.access import Access
from tasks.lib.ember.persistence import answer, ask, refused
from tasks.lib.ember.remote import FIELDS, Item
from tasks.lib.ember.wire import Job, Pool, Request, Steps
from tasks.lib.errors import Failure


def look_up(pool: Pool, access: Access, name: str) -> Item | None:
    """What the API says of an object; None where there is none."""
    found: list[Item] = []
    pool.run([looking_up(access, name, found)])
    return found[0] if found else None


def looking_up(access: Access, name: str, found: list[Item]) -> Job:
    """A job that adds to `found` what the API says of an object, where there is one."""

    def steps() -> Steps:
        query = urlencode({"fields": f"{FIELDS},timeCreated"})
        request = Request("GET", f"{access.object_url(name)}?{query}")
        response = yield from ask(request, access, access.deadline())
        if response.status == 200:
            found.append(answer(response, Item))
        elif response.status != 404:
            raise refused(response, access, f"{name} could not be looked up.")

    return Job(steps())


def fetched(pool: Pool, access: Access, name: str) -> bytes:
    """The content of a small object, unpacked.

    Raises:
        Failure: it is not there, or arrived damaged.

    """
    found: list[bytes] = []
    pool.run([fetching(access, name, found)])
    if not found:
        raise Failure(f"{name} could not be read.", "It is not there.", "See `./inv ember.list`.")
    return found[0]


def fetching(access: Access, name: str, found: list[bytes]) -> Job:
    """A job that adds the content of a small object to `found`, where there is one."""

    def steps() -> Steps:
        request = Request("GET", f"{access.object_url(name)}?alt=media", ("Accept-Encoding: gzip",))
        response = yield from ask(request, access, access.deadline())
        if response.status == 404:
            return
        if response.status != 200:
            raise refused(response, access, f"{name} could not be read.")
        try:
            found.append(content.unpacked(response.body, response.header("content-encoding")))
        except zlib.error as error:
            raise Failure(f"{name} arrived damaged.", str(error), "Run the same command again.") from error

    return Job(steps())
