"""Uploading a built Ember app: read and judge the archive, list the bucket, decide, send, activate."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from tasks.lib.background import Background
from tasks.lib.duration import spoken
from tasks.lib.ember import activation, names, objects, revision, revisions, sending
from tasks.lib.ember.access import Access, access
from tasks.lib.ember.acting import Acting
from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.inspection import Inventory, inspect, read
from tasks.lib.ember.line import LONGEST_WAIT, Line
from tasks.lib.ember.member import Archive
from tasks.lib.ember.plan import Plan, anew, copying, plan
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.survey import INDEX, survey
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import TimedOut, UsageError
from tasks.lib.settings.ember import Ember

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

Found = TypeVar("Found")
AS_A_REVISION = Options()
# How often an upload begins, where a pruning takes away what it found there.
MOST_ROUNDS = 3
# A pool that is stopped has ended by then, or waits for a token, which nothing cuts short.
LONGEST_FOR_A_STOP = 3 * LONGEST_WAIT


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
    with closing(Pool(access, Line(ember.connections))) as pool, Progress() as progress:
        return upload_with(pool, access, ember, source, prefix, options, progress)


def upload_with(
    pool: Pool, access: Access, ember: Ember, source: str, prefix: str, options: Options, progress: Progress
) -> UploadSummary:
    """As `upload_to`, through a pool that serves other uploads too."""
    started = time.monotonic()
    before = (pool.traffic.requests, pool.traffic.connections)
    prefix = checked_prefix(prefix)
    summary = UploadSummary(access.public_url(prefix + INDEX))
    with closing(open_archive(source, ember.limits)) as archive:
        for left in reversed(range(MOST_ROUNDS)):
            try:
                bring = _in_place if options.in_place else _as_revision
                bring(archive, pool, access, ember, prefix, options, summary, progress)
                break
            except revisions.Gone:
                if not left:
                    raise
    summary.requests = pool.traffic.requests - before[0]
    summary.connections = pool.traffic.connections - before[1]
    summary.seconds = time.monotonic() - started
    return summary


def checked_prefix(prefix: str) -> str:
    """The prefix with one slash at its end.

    Raises:
        UsageError: it is empty, or no clean relative path.

    """
    path = prefix.removesuffix("/")
    fault = names.fault(path, "") if path else "it is empty"
    if fault:
        raise UsageError(
            f"The prefix {names.spelled(prefix)!r} cannot be used.",
            f"As a path, {fault}.",
            "Give it as experiments/<uuid>.",
        )
    return f"{path}/"


def _in_place(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str, options: Options,
    summary: UploadSummary, progress: Progress,
) -> None:  # fmt: skip
    """The plain layout: the app's files at the prefix itself."""
    # What is packed as a whole is not read once more only to know what to expect.
    known = survey(archive, prefix, ember) if archive.independent else None
    inventory, listing = _side_by_side(
        pool,
        lambda: read(archive, known or survey(archive, prefix, ember), ember, digests=False),
        lambda: objects.listing(pool, access, prefix, known.paths if known else ()),
    )
    apart = prefix + revision.FOLDER
    decided = plan(inventory.entries, prefix, listing)
    decided = replace(decided, extra=[there for there in decided.extra if not there.name.startswith(apart)])
    _note(summary, inventory, decided)
    if options.dry_run:
        return
    acting = _acting(archive, inventory, pool, access, ember, summary, progress)
    acting.carry_out(decided)
    if options.delete_extra:
        acting.remove(decided)


def _as_revision(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str, options: Options,
    summary: UploadSummary, progress: Progress,
) -> None:  # fmt: skip
    """A folder of its own beside other revisions, then its manifest, then the page that leads to it."""
    # The name of the longest revision stands in: names are judged before the hash is known.
    longest = revision.folder(prefix, "0" * revision.LENGTH)
    inventory, (served, earlier) = _side_by_side(
        pool, lambda: inspect(archive, longest, ember), lambda: activation.served(pool, access, prefix)
    )
    entries = inventory.entries
    name = summary.revision = revision.identity(entries)
    where = revision.folder(prefix, name)
    there, manifest = revisions.observed(pool, access, prefix, name, [entry.path for entry in entries])
    needed = (anew if revision.is_mark(manifest) else plan)(entries, where, there)
    decided = copying(needed, earlier, revision.folder(prefix, served.name))
    _note(summary, inventory, decided)
    summary.active = served.name
    if options.dry_run:
        return
    acting = _acting(archive, inventory, pool, access, ember, summary, progress)
    acting.carry_out(decided)
    revisions.write_manifest(pool, access, prefix, name, entries, manifest)
    if options.activate and not (served.name == name and served.as_written):
        history = revision.activated(served.history, name)
        activation.activate(pool, access, prefix, name, history, served, entries)
        summary.active = name
    elif there and (manifest is None or revision.is_mark(manifest)):
        revisions.expect_whole(pool, access, prefix, name, entries)
    if options.delete_extra:
        acting.remove(decided)


def _acting(
    archive: Archive, inventory: Inventory, pool: Pool, access: Access, ember: Ember, summary: UploadSummary,
    progress: Progress,
) -> Acting:  # fmt: skip
    sizes = sending.Sizes(ember.resumable_above, ember.resumable_part)
    return Acting(archive, inventory, pool, access, sizes, summary, progress)


def _note(summary: UploadSummary, inventory: Inventory, decided: Plan) -> None:
    summary.files = len(inventory.entries)
    summary.unchanged = decided.unchanged
    summary.to_send = [change.name for change in (*decided.send, *decided.last)]
    summary.to_copy = [copy.send.name for copy in decided.copy]
    summary.to_relabel = [change.name for change in decided.relabel]
    summary.to_remove = [there.name for there in decided.extra]


def _side_by_side(
    pool: Pool, read_archive: Callable[[], Inventory], ask_bucket: Callable[[], Found]
) -> tuple[Inventory, Found]:
    """The archive and the bucket, read at the same time: one needs the disk, the other the network."""
    asking = Background(ask_bucket)
    try:
        return read_archive(), asking.wait()
    except BaseException:  # an interruption too, which would wait for an answer otherwise
        pool.stop()
        asking.is_done(LONGEST_FOR_A_STOP)
        raise


__all__ = ["UploadSummary", "checked_prefix", "too_long", "upload", "upload_to", "upload_with"]
