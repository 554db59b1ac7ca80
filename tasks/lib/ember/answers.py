"""Asking again: which answers are worth another attempt, after how long, and what the last one means."""

import json
import re
from typing import TypeVar

from msgspec import MsgspecError
from msgspec.json import decode

from tasks.lib.ember import content
from tasks.lib.ember.access import Access
from tasks.lib.ember.http import UNREACHABLE, Pause, Request, Response, Steps
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.google.answers import in_place_of
from tasks.lib.retry import TEMPORARY, retry_after

# The checksum of the bytes that are stored: https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash
CHECKSUM = re.compile(r"crc32c=([\w+/]{6}==)")
PASSING = TEMPORARY | {UNREACHABLE}

Answer = TypeVar("Answer")


def ask(access: Access, request: Request) -> Steps[Response]:
    """The answer to a request that may be sent twice, once another attempt would not change it.

    Raises:
        TimedOut: only passing errors within time_limits.storage.

    """
    attempts, renewed = access.attempts(access.limit), False
    while True:
        known = access.tokens.attempts
        response = yield from once(request)
        if response.status == 401 and not renewed:
            # Others that carried the same token are refused too; the first of them takes a new one for all.
            access.tokens.renew(known)
            renewed = True
            continue
        whole = request.method == "HEAD" or not cut_short(response)
        if response.status not in PASSING and whole:
            return response
        pause = attempts.pause(retry_after(response.header("retry-after")))
        if pause is None:
            break
        yield Pause(pause)
    raise TimedOut(
        "Cloud Storage did not answer as it should within time_limits.storage.",
        f"The last answer to {request.method} {request.url}: {said(response)}",
        "Run the same command again: it sends only what is missing.",
    )


def once(request: Request) -> Steps[Response]:
    """Send a request a single time."""
    response = yield request
    assert response is not None  # noqa: S101 - the pool answers every request
    return response


def cut_short(response: Response) -> bool:
    """Whether an answer without a stated length ends in the middle of an object's content, or of its JSON."""
    if response.header("content-length") or response.header("transfer-encoding"):
        return False
    if noted := CHECKSUM.search(response.header("x-goog-hash")):
        return content.from_base64(noted[1]) != content.checksum([response.body])
    if not response.header("content-type").startswith("application/json"):
        return False
    try:
        json.loads(response.body)
    except ValueError:
        return True
    return False


def answer(response: Response, kind: type[Answer]) -> Answer:
    """What the JSON of a success holds.

    Raises:
        Failure: it is something else, such as the page of a proxy that answers in Cloud Storage's place.

    """
    try:
        return decode(response.body, type=kind)
    except MsgspecError as error:
        raise not_its_own(response) from error


def not_its_own(response: Response) -> Failure:
    """The error for a success that is not what Cloud Storage answers."""
    text = response.body.decode(errors="replace")
    return in_place_of("Cloud Storage", response.header("content-type"), text)


def said(response: Response) -> str:
    """An answer in one line."""
    text = " ".join(response.body.decode(errors="replace").split())[:300]
    return text if response.status == UNREACHABLE else f"{response.status} {text}".strip()


def refused(response: Response, access: Access, what: str) -> Failure:
    """The error for an answer that is no success; `what` says what could not be done, as one sentence."""
    bucket = access.bucket
    why, next_step = {
        401: (f"{access.endpoint} did not accept the token.", "Run `gcloud auth application-default login`."),
        403: (
            "This account may not do that, or the bucket's retention forbids it.",
            f"Give it roles/storage.objectUser on gs://{bucket}; `./inv doctor` tells who you are.",
        ),
        404: (
            f"There is no bucket {bucket}, or this account may not see it.",
            "Look at environments.*.buckets.archives in invoke.yaml; `./inv settings` prints it.",
        ),
    }.get(response.status, ("", ""))
    return Failure(what, "\n".join(filter(None, (why, said(response)))), next_step)
