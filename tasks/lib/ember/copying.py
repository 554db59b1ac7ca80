"""Copying within the bucket: what an earlier revision holds, or an object onto itself; no body is sent."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from tasks.lib.ember.access import Access
from tasks.lib.ember.objects import Changed
from tasks.lib.ember.persistence import answer, ask, not_its_own, refused
from tasks.lib.ember.plan import Copy, Send, same_content
from tasks.lib.ember.remote import ABSENT, FIELDS, Item, remote_of
from tasks.lib.ember.sending import Done, expect_stored
from tasks.lib.ember.wire import Job, Request, Response, Steps


class Rewritten(Struct, rename="camel"):
    """What the JSON API answers to a copy: the object, or what a further request goes on with."""

    rewrite_token: str = ""
    resource: Item | None = None


def copied(access: Access, copy: Copy, done: Done, instead: Callable[[Send], None]) -> Job:
    """A job that copies an object.

    Args:
        access: the bucket.
        copy: what to write, and from what.
        done: called with what was written and 0, once the bucket has said that it holds the right content.
        instead: called with what has to be sent after all: the source is gone, or not what its manifest says.

    """

    def steps() -> Steps:
        send, token = copy.send, ""
        while True:
            request = Request("POST", _url(access, copy.source, copy.send.name, copy.send.generation, token))
            response = yield from ask(request, access, access.deadline())
            if response.status == 404:
                instead(_without_source(copy))
                return
            if response.status == 412:
                yield from _changed(access, copy, done, instead)
                return
            if response.status != 200:
                raise refused(response, access, f"{send.name} could not be copied from {copy.source}.")
            rewritten = _rewritten(response)
            if rewritten.resource:
                break
            token = rewritten.rewrite_token
        there = remote_of(rewritten.resource)
        if same_content(send.entry, there) and there.headers == send.entry.headers:
            done(send, 0)
        else:
            instead(replace(send, generation=there.generation))

    return Job(steps())


def _rewritten(response: Response) -> Rewritten:
    """What an answer says of a copy: what was written, or what a further request goes on with."""
    found = answer(response, Rewritten)
    if not (found.resource or found.rewrite_token):
        raise not_its_own(response)
    return found


def _changed(access: Access, copy: Copy, done: Done, instead: Callable[[Send], None]) -> Any:
    """Find out why the target is not of its generation any more."""
    try:
        # An earlier attempt may have been carried out and only its answer lost.
        yield from expect_stored(access, copy.send, {})
    except Changed:
        if copy.source != copy.send.name:
            raise
        # Which of a source that is gone and a target that is not as expected is told first is not documented.
        instead(_without_source(copy))
        return
    done(copy.send, 0)


def _without_source(copy: Copy) -> Send:
    """What to send where the source is gone; where it was to be copied onto itself, so is the target."""
    return replace(copy.send, generation=ABSENT) if copy.source == copy.send.name else copy.send


def renewed(access: Access, name: str, generation: int) -> Job:
    """A job that gives a small object a new generation and leaves all else of it as it is.

    What was to be written over `generation` is refused from then on.  Nothing is done where the object has
    another generation already, or is gone.
    """

    def steps() -> Steps:
        request = Request("POST", _url(access, name, name, generation, ""))
        response = yield from ask(request, access, access.deadline())
        if response.status not in {200, 404, 412}:
            raise refused(response, access, f"{name} could not be given a new generation.")

    return Job(steps())


def _url(access: Access, source: str, name: str, generation: int, token: str) -> str:
    query = {
        "ifGenerationMatch": generation,
        "fields": f"done,rewriteToken,resource({FIELDS})",
        **({"rewriteToken": token} if token else {}),
    }
    target = f"b/{quote(access.bucket, safe='')}/o/{quote(name, safe='')}"
    return f"{access.object_url(source)}/rewriteTo/{target}?{urlencode(query)}"
