"""The configuration of a bucket that serves Ember apps, as code: CORS, website, lifecycle."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tasks.lib.ember.access import Access
from tasks.lib.errors import ChangesFound, Failure, TimedOut, UsageError
from tasks.lib.settings.ember import Bucket as Wanted

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

Configuration = Mapping[str, Any]
ABORT = "AbortIncompleteMultipartUpload"


class Change(Struct, frozen=True):
    """One part of the configuration, cors, website or lifecycle, that is not as it should be."""

    part: str
    now: Any
    wanted: Any

    def __str__(self) -> str:
        """The change in three lines."""
        return f"{self.part}:\n  - {json.dumps(self.now)}\n  + {json.dumps(self.wanted)}"


def wanted(settings: Wanted, now: Configuration) -> Configuration:
    """The configuration that should be in force.

    Lifecycle rules of other actions are somebody else's and stay.  Their order means nothing, and stays too.
    """
    cors = [
        {
            "origin": list(c.origin),
            "method": list(c.method),
            "responseHeader": list(c.response_header),
            "maxAgeSeconds": c.max_age_seconds,
        }
        for c in settings.cors
    ]
    website = {"mainPageSuffix": settings.main_page, "notFoundPage": settings.not_found_page}
    abort = {"action": {"type": ABORT}, "condition": {"age": settings.abort_uploads_after_days}}
    others = [rule for rule in now["lifecycle"] if rule["action"]["type"] != ABORT]
    is_there = abort in now["lifecycle"] and len(now["lifecycle"]) == len(others) + 1
    lifecycle = now["lifecycle"] if is_there else [*others, abort]
    return {"cors": cors, "website": {k: v for k, v in website.items() if v}, "lifecycle": lifecycle}


def changes(settings: Wanted, now: Configuration) -> list[Change]:
    """What has to change."""
    target = wanted(settings, now)
    return [Change(part, now[part], target[part]) for part in _differing(now, target)]


def _differing(one: Configuration, other: Configuration) -> list[str]:
    """The parts that are not the same; a field of a rule that is left out is one with nothing in it."""
    return [part for part in other if _filled(one[part]) != _filled(other[part])]


def _filled(part: Any) -> Any:
    if not isinstance(part, list):
        return part
    return [{field: value for field, value in rule.items() if value} for rule in part]


def check_options(plan: bool, apply: bool) -> None:
    """Either look or change.

    Raises:
        UsageError: both were asked for.

    """
    if plan and apply:
        raise UsageError(
            "--plan and --apply do not go together.",
            "One only shows what differs, the other changes it.",
            "Leave one of them out; --exit-code belongs to --plan.",
        )


def told(changes: Sequence[Change]) -> str:
    """How much differs, in a sentence."""
    if not changes:
        return "Nothing differs."
    return f"{len(changes)} {'part differs' if len(changes) == 1 else 'parts differ'}."


def require_no_changes(changes: Sequence[Change]) -> None:
    """Say by an exit code of its own that something differs.

    Raises:
        ChangesFound: something does.

    """
    if changes:
        raise ChangesFound(
            f"The bucket's {', '.join(change.part for change in changes)} is not as invoke.yaml says.",
            next_step="`./inv ember.bucket --apply` changes it.",
        )


def observe(access: Access) -> tuple["Bucket", Configuration]:
    """The bucket and the configuration in force.

    Raises:
        Failure: it is not there, or may not be looked at.
        TimedOut: there was no answer.

    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY

    from tasks.lib.google.sessions import session_of

    session = session_of(access.tokens)
    session.verify = access.ca_file
    try:
        client = storage.Client(
            project="",
            credentials=access.tokens.credentials,
            client_options={"api_endpoint": access.endpoint},
            _http=session,
        )
        persistence = DEFAULT_RETRY.with_timeout(access.limit)
        bucket = client.get_bucket(access.bucket, timeout=access.attempt_limit, retry=persistence)
    except (GoogleAPIError, GoogleAuthError) as error:
        raise _failure(
            error,
            f"The bucket {access.bucket} could not be looked at.",
            "roles/storage.admin on it is needed; `./inv doctor` tells who you are.",
        ) from error
    return bucket, configuration(bucket)


def configuration(bucket: "Bucket") -> Configuration:
    """The parts of a bucket's configuration that are kept as code."""
    # The class has no public reader of a website, and leaves out the lifecycle rules that it does not know.
    properties = bucket._properties  # noqa: SLF001
    return {
        "cors": [dict(rule) for rule in bucket.cors],
        "website": {key: value for key, value in properties.get("website", {}).items() if value},
        "lifecycle": [dict(rule) for rule in properties.get("lifecycle", {}).get("rule", [])],
    }


def apply(access: Access, bucket: "Bucket", target: Configuration) -> None:
    """Put `target` in force, provided the bucket's configuration is still the one that was observed.

    Raises:
        Failure: it was refused, or the server did not keep it.
        TimedOut: there was no answer.

    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.retry import DEFAULT_RETRY

    persistence = DEFAULT_RETRY.with_timeout(access.limit)
    bucket.cors = target["cors"]
    bucket.configure_website(target["website"].get("mainPageSuffix"), target["website"].get("notFoundPage"))
    bucket.lifecycle_rules = target["lifecycle"]
    try:
        known = bucket.metageneration
        bucket.patch(if_metageneration_match=known, timeout=access.attempt_limit, retry=persistence)
        bucket.reload(timeout=access.attempt_limit, retry=persistence)
    except (GoogleAPIError, GoogleAuthError) as error:
        raise _failure(
            error,
            f"The bucket {access.bucket} could not be configured.",
            "Run `./inv ember.bucket --plan` again; roles/storage.admin is needed.",
        ) from error
    if lost := _differing(configuration(bucket), target):
        raise Failure(
            f"{access.endpoint} accepted the configuration of {access.bucket} and did not keep it.",
            f"Not in force: {', '.join(lost)}.",
            "fake-gcs-server keeps none of it; against Google, run the same command again.",
        )


def _failure(error: Exception, what: str, next_step: str) -> Failure:
    """The error for what the library raised: after retries, a time-out."""
    from google.api_core.exceptions import RetryError

    if isinstance(error, RetryError):
        why = f"Cloud Storage did not answer as it should within time_limits.storage: {error.cause}"
        return TimedOut(what, why, "Run the same command again.")
    return Failure(what, str(error), next_step)
