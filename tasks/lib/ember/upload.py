"""Uploading a built Ember app: read and judge the archive, list the bucket, decide, send."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from typing import IO, TYPE_CHECKING

from tasks.lib.ember import content, objects, sending
from tasks.lib.ember.access import Access, access
from tasks.lib.ember.archive import open_archive
from tasks.lib.ember.inspection import INDEX, Inventory, inspect
from tasks.lib.ember.member import Archive, Member, Opener
from tasks.lib.ember.plan import Plan, Relabel, Remote, Send, plan
from tasks.lib.ember.wire import Job, Pool
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.ember import Ember

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


@dataclass
class UploadSummary:
    """What an upload did.

    Args:
        url: where index.html is served.
        files: how many files the app has.
        sent: how many were written.
        relabelled: how many got other headers only.
        unchanged: how many were there already.
        stored: the bytes written, after compression.
        seconds: how long it took.
        requests: how many requests it took.
        connections: over how many connections.
    """

    url: str
    files: int
    sent: int = 0
    relabelled: int = 0
    unchanged: int = 0
    stored: int = 0
    seconds: float = 0.0
    requests: int = 0
    connections: int = 0


def upload(settings: "Settings", environment: "Environment", source: str, prefix: str) -> UploadSummary:
    """Bring the app in `source` to the environment's bucket, below `prefix`.

    Args:
        settings: how Cloud Storage is reached, limits and header rules.
        environment: whose bucket.
        source: a zip, tar, tar.gz, tar.zst or folder, or `-` for standard input.
        prefix: where in the bucket, for example experiments/<uuid>.

    Raises:
        UsageError: the prefix or the path cannot be used.
        Failure: the archive is refused, or something could not be sent; the message says what was.

    """
    return upload_to(access(settings, environment), settings.ember, source, prefix)


def upload_to(access: Access, ember: Ember, source: str, prefix: str) -> UploadSummary:
    """As `upload`, to a bucket that `access` leads to."""
    started = time.monotonic()
    prefix = checked_prefix(prefix)
    with (
        closing(open_archive(source, ember.limits)) as archive,
        closing(Pool(access, ember.connections)) as pool,
    ):
        inventory, listing = _observe(archive, pool, access, ember, prefix)
        decided = plan(inventory.entries, prefix, listing)
        summary = UploadSummary(access.public_url(prefix + INDEX), len(inventory.entries))
        summary.unchanged = decided.unchanged
        _Act(archive, inventory, pool, access, ember, summary).carry_out(decided)
        summary.requests += pool.traffic.requests
        summary.connections += pool.traffic.connections
    summary.seconds = time.monotonic() - started
    return summary


def checked_prefix(prefix: str) -> str:
    """The prefix with one slash at its end.

    Raises:
        UsageError: it is empty, or no clean relative path.

    """
    from tasks.lib.ember import names

    path = prefix.removesuffix("/")
    fault = names.fault(path, "") if path else "it is empty"
    if fault:
        raise UsageError(
            f"The prefix {names.spelled(prefix)!r} cannot be used.",
            f"As a path, {fault}.",
            "Give it as experiments/<uuid>.",
        )
    return f"{path}/"


def _observe(
    archive: Archive, pool: Pool, access: Access, ember: Ember, prefix: str
) -> tuple[Inventory, list[Remote]]:
    """The archive and the bucket, read at the same time: one needs the disk, the other the network."""
    with ThreadPoolExecutor(1) as executor:
        listing = executor.submit(lambda: list(objects.listing(pool, access, prefix)))
        try:
            inventory = inspect(archive, prefix, ember)
        except BaseException:
            pool.stop()
            raise
        return inventory, listing.result()


class _Act:
    """Carries out a plan."""

    def __init__(
        self,
        archive: Archive,
        inventory: Inventory,
        pool: Pool,
        access: Access,
        ember: Ember,
        summary: UploadSummary,
    ) -> None:
        self._archive = archive
        self._inventory = inventory
        self._pool = pool
        self._access = access
        self._ember = ember
        self._summary = summary

    def carry_out(self, decided: Plan) -> None:
        """Everything but index.html in parallel; index.html once all of it is there.

        Raises:
            Failure: something could not be sent; index.html is then as it was.

        """
        try:
            self._pool.run(self._jobs(decided))
            self._pool.run(self._sends(decided.last))
        except Failure as failure:
            failure.why = "\n".join(filter(None, (failure.why, self._so_far(decided))))
            raise

    def _jobs(self, decided: Plan) -> Iterator[Job]:
        for change in decided.relabel:
            yield objects.relabelled(self._access, change, self._relabelled)
        yield from self._sends(decided.send)

    def _sends(self, sends: Sequence[Send]) -> Iterator[Job]:
        """A job for each, opening the archive's files only as jobs are started."""
        kept = self._inventory.kept
        to_read = [send for send in sends if send.entry.path not in kept]
        for send in sends:
            if send.entry.path in kept:
                yield sending.small(self._access, send, kept.pop(send.entry.path), self._sent)
        yield from self._read_again(to_read)

    def _read_again(self, sends: Sequence[Send]) -> Iterator[Job]:
        contents = self._archive.contents(send.entry.member for send in sends)
        for send, (member, opened) in zip(sends, contents, strict=True):
            if self._in_one_request(send):
                with opened() as file:
                    data = b"".join(content.pieces(file))
                yield sending.small(self._access, send, data, self._sent)
            else:
                at = partial(_opened_at, self._archive, member, _OnceOnly(opened))
                yield sending.large(self._access, send, at, self._sent, not self._archive.independent)

    def _in_one_request(self, send: Send) -> bool:
        entry = send.entry
        largest = max(self._ember.resumable_above, content.LARGEST_TO_COMPRESS if entry.compressible else 0)
        return entry.size <= largest

    def _sent(self, _send: Send, size: int) -> None:
        self._summary.sent += 1
        self._summary.stored += size

    def _relabelled(self, _change: Relabel) -> None:
        self._summary.relabelled += 1

    def _so_far(self, decided: Plan) -> str:
        done = self._summary.sent + self._summary.relabelled
        served = (
            "" if not decided.last else " index.html is as it was: visitors are served what they were before."
        )
        return f"{done} of {decided.changes} changes are in the bucket.{served}"


class _OnceOnly:
    """A file's opener that serves for the first attempt: later ones open the archive anew."""

    def __init__(self, opened: Opener) -> None:
        self._opened: Opener | None = opened

    def take(self) -> Opener | None:
        opened, self._opened = self._opened, None
        return opened


def _opened_at(archive: Archive, member: Member, first: _OnceOnly, offset: int) -> IO[bytes]:
    opened = first.take()
    file = opened() if opened else archive.open(member)
    _skip(file, offset)
    return file


def _skip(file: IO[bytes], count: int) -> None:
    if isinstance(file, RawIOBase) and file.seekable():
        file.seek(count)
        return
    while count > 0:
        read = len(file.read(min(count, content.PIECE)))
        if not read:
            return
        count -= read
