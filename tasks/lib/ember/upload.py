"""Uploading a built Ember app: read and judge the archive, list the bucket, decide, send, activate."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.lib.ember import names, objects, revision, revisions, sending
from tasks.lib.ember.access import Access, access
from tasks.lib.ember.acting import Acting
from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.inspection import INDEX, Inventory, inspect
from tasks.lib.ember.member import Archive
from tasks.lib.ember.plan import Plan, Remote, plan
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import UsageError
from tasks.lib.settings.ember import Ember

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

AS_A_REVISION = Options()


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


def upload_to(
    access: Access, ember: Ember, source: str, prefix: str, options: Options = AS_A_REVISION
) -> UploadSummary:
    """As `upload`, to a bucket that `access` leads to."""
    with closing(Pool(access, ember.connections)) as pool, Progress() as progress:
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
        bring = _in_place if options.in_place else _as_revision
        bring(archive, pool, access, ember, prefix, options, summary, progress)
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
    inventory, listing = _observe(archive, pool, access, ember, prefix)
    apart = prefix + revision.FOLDER
    decided = plan(inventory.entries, prefix, listing)
    decided = replace(decided, extra=[there for there in decided.extra if not there.name.startswith(apart)])
    _note(summary, inventory, decided)
    if options.dry_run:
        return
    acting = Acting(
        archive,
        inventory,
        pool,
        access,
        sending.Sizes(ember.resumable_above, ember.resumable_part),
        summary,
        progress,
    )
    acting.carry_out(decided)
    if options.delete_extra:
        acting.remove(decided)


def _as_revision(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str, options: Options,
    summary: UploadSummary, progress: Progress,
) -> None:  # fmt: skip
    """A folder of its own beside other revisions, then its manifest, then the page that leads to it."""
    # The name of the longest revision stands in: names are judged before the hash is known.
    inventory = inspect(archive, revision.folder(prefix, "0" * revision.LENGTH), ember)
    name = summary.revision = revision.identity(inventory.entries)
    where = revision.folder(prefix, name)
    served = revisions.active(pool, access, prefix)
    decided = plan(inventory.entries, where, objects.listing(pool, access, where))
    _note(summary, inventory, decided)
    summary.active = served.name
    if options.dry_run:
        return
    Acting(
        archive,
        inventory,
        pool,
        access,
        sending.Sizes(ember.resumable_above, ember.resumable_part),
        summary,
        progress,
    ).carry_out(decided)
    revisions.write_manifest(pool, access, prefix, name, inventory.entries)
    if options.activate and served.name != name:
        history = revision.activated(served.history, name)
        revisions.activate(pool, access, prefix, name, history, served.generation)
        summary.active = name


def _note(summary: UploadSummary, inventory: Inventory, decided: Plan) -> None:
    summary.files = len(inventory.entries)
    summary.unchanged = decided.unchanged
    summary.to_send = [change.name for change in (*decided.send, *decided.last)]
    summary.to_relabel = [change.name for change in decided.relabel]
    summary.to_remove = [there.name for there in decided.extra]


def _observe(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str
) -> tuple[Inventory, list[Remote]]:
    """The archive and the bucket, read at the same time: one needs the disk, the other the network."""
    try:
        with ThreadPoolExecutor(1) as executor:
            listing = executor.submit(lambda: list(objects.listing(pool, access, prefix)))
            try:
                inventory = inspect(archive, prefix, ember)
            except BaseException:
                pool.stop()
                raise
            return inventory, listing.result()
    finally:
        pool.go_on()


__all__ = ["UploadSummary", "checked_prefix", "upload", "upload_to", "upload_with"]
