"""Uploading a built Ember app: the bucket is asked what it holds, while the rest is still being loaded."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from tasks.lib.console import spoken
from tasks.lib.ember.access import Access, access
from tasks.lib.ember.line import Line
from tasks.lib.ember.listing import Listing
from tasks.lib.ember.names import checked_prefix
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import TimedOut
from tasks.lib.settings.ember import Ember

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

AS_A_REVISION = Options()
# Seconds that a thread may compute while another one, which has an answer of the bucket in hand, waits.
SHORT_TURN = 0.0001


def upload(
    settings: "Settings",
    environment: "Environment",
    source: str,
    prefix: str,
    options: Options = AS_A_REVISION,
) -> UploadSummary:
    """Bring the app in `source` to the environment's bucket, below `prefix`.

    Args:
        settings: how Cloud Storage is reached, limits and header rules.
        environment: whose bucket.
        source: a zip, tar, tar.gz, tar.zst or folder, or `-` for standard input.
        prefix: where in the bucket, for example experiments/<uuid>.
        options: how.

    Raises:
        UsageError: the prefix or the path cannot be used.
        Failure: the archive is refused, or something could not be sent; the message says what was.

    """
    return upload_to(access(settings, environment), settings.ember, source, prefix, options)


def too_long(settings: "Settings") -> TimedOut:
    """The error for an upload that reached its limit."""
    return TimedOut(
        f"The upload took longer than {spoken(settings.time_limits.upload)} and was ended.",
        "time_limits.upload in invoke.yaml says how long one may take.",
        "Run the same command again: it goes on where this one ended.",
    )


def upload_to(
    access: Access, ember: Ember, source: str, prefix: str, options: Options = AS_A_REVISION
) -> UploadSummary:
    """As `upload`, to a bucket that `access` leads to."""
    prefix = checked_prefix(prefix)
    with (
        closing(Pool(access, Line(ember.connections))) as pool,
        _short_turns(),
        _asked_ahead(pool, access, prefix, options) as listing,
    ):
        from tasks.lib.ember.bringing import upload_with
        from tasks.lib.ember.progress import Progress

        with Progress() as progress:
            return upload_with(pool, access, ember, source, prefix, options, progress, listing)


def _asked_ahead(
    pool: Pool, access: Access, prefix: str, options: Options
) -> AbstractContextManager[Listing | None]:
    """What the prefix holds, where that is the first question; a revision's begins with what is served."""
    return Listing(pool, access, prefix) if options.in_place else nullcontext()


@contextmanager
def _short_turns() -> Iterator[None]:
    """Have threads take turns quickly: by default Python lets one that waits for its turn wait 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SHORT_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
