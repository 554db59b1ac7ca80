"""Carrying out an upload plan: everything but index.html in parallel, index.html once all of it is there."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO, cast

from tasks.lib.ember import content, copying, objects, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.inspection import Entry, Inventory
from tasks.lib.ember.member import Archive, Opener
from tasks.lib.ember.plan import Plan, Relabel, Send
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import UploadSummary
from tasks.lib.ember.wire import Job, Pool
from tasks.lib.errors import Failure


class Acting:
    """Carries out plans for one archive.

    Args:
        archive: where contents come from that were not kept.
        inventory: what the archive holds.
        pool: sends the requests.
        access: the bucket.
        sizes: which files are sent through a session, and how much at a time.
        summary: counts what was done.
        progress: is told as it is done.
    """

    def __init__(
        self, archive: Archive, inventory: Inventory, pool: Pool, access: Access, sizes: sending.Sizes,
        summary: UploadSummary, progress: Progress,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._kept = inventory.kept
        self._pool = pool
        self._access = access
        self._sizes = sizes
        self._summary = summary
        self._progress = progress
        self._not_copied: dict[str, Send] = {}

    def carry_out(self, decided: Plan) -> None:
        """Send and relabel what the plan says.

        Raises:
            Failure: something could not be sent; index.html is then as it was.

        """
        self._progress.expect(decided.changes, sum(one.entry.size for one in decided.writes))
        try:
            self._pool.run(self._jobs(decided))
            after_all = (self._not_copied.get(copy.send.name) for copy in decided.copy)
            self._pool.run(self._sends([send for send in after_all if send]))
            self._pool.run(self._sends(decided.last))
        except Failure as failure:
            failure.why = "\n".join(filter(None, (failure.why, self._so_far(decided))))
            raise

    def remove(self, decided: Plan) -> None:
        """Remove what the app does not have."""
        self._pool.run(objects.removed(self._access, there, self._removed) for there in decided.extra)

    def _jobs(self, decided: Plan) -> Iterator[Job]:
        for change in decided.relabel:
            yield objects.relabelled(self._access, change, self._relabelled)
        for copy in decided.copy:
            yield copying.copied(self._access, copy, self._copied, self._send_instead)
        yield from self._sends(decided.send)

    def _sends(self, sends: Sequence[Send]) -> Iterator[Job]:
        """A job for each, opening the archive's files only as jobs are started."""
        to_read = [send for send in sends if send.entry.path not in self._kept]
        if self._archive.independent:
            # Large ones last: while as many of them as may be are on their way, nothing else is begun.
            to_read.sort(key=lambda send: not self._in_one_request(send))
        for send in sends:
            if send.entry.path in self._kept:
                yield sending.small(self._access, send, self._kept.pop(send.entry.path), self._sent)
        yield from self._read_again(to_read)

    def _read_again(self, sends: Sequence[Send]) -> Iterator[Job]:
        contents = self._archive.contents(send.entry.member for send in sends)
        try:
            for send, (_, opened) in zip(sends, contents, strict=True):
                yield self._job(send, opened)
        except self._archive.errors as error:
            raise sending.source_changed("The archive") from error

    def _job(self, send: Send, opened: Opener) -> Job:
        if self._in_one_request(send):
            return sending.small(self._access, send, self._whole(send, opened), self._sent)
        reading = _Reading(self._archive, send.entry, opened, self._progress.moved)
        alone = not self._archive.independent
        return sending.large(
            self._access, send, reading, partial(self._sent_large, reading), self._sizes, alone
        )

    def _whole(self, send: Send, opened: Opener) -> bytes:
        try:
            with opened() as file:
                return b"".join(content.pieces(file))
        except self._archive.errors as error:
            raise sending.source_changed(send.entry.path) from error

    def _in_one_request(self, send: Send) -> bool:
        entry = send.entry
        compressed = content.LARGEST_TO_COMPRESS if entry.compressible else 0
        return entry.size <= max(self._sizes.session, compressed)

    def _sent(self, send: Send, size: int) -> None:
        self._summary.sent += 1
        self._summary.stored += size
        self._progress.done(send.entry.size)

    def _sent_large(self, reading: "_Reading", send: Send, size: int) -> None:
        self._summary.sent += 1
        self._summary.stored += size
        self._progress.done(send.entry.size - reading.furthest)

    def _copied(self, send: Send, _size: int) -> None:
        self._summary.copied += 1
        self._progress.done(send.entry.size)

    def _send_instead(self, send: Send) -> None:
        self._not_copied[send.name] = send

    def _relabelled(self, _change: Relabel) -> None:
        self._summary.relabelled += 1
        self._progress.done(0)

    def _removed(self, _name: str) -> None:
        self._summary.removed += 1

    def _so_far(self, decided: Plan) -> str:
        done = self._summary.sent + self._summary.copied + self._summary.relabelled
        served = (
            " index.html is as it was: visitors are served what they were before." if decided.last else ""
        )
        return f"{done} of {decided.changes} changes are in the bucket.{served}"


class _Reading:
    """A file of an archive, read on from where it was left, or else anew.

    Args:
        archive: the archive.
        entry: the file.
        opened: opens it, once.
        moved: is told of bytes that were read for the first time.
    """

    def __init__(self, archive: Archive, entry: Entry, opened: Opener, moved: Callable[[int], None]) -> None:
        self.furthest = 0
        self._moved = moved
        self._archive = archive
        self._entry = entry
        self._opened: Opener | None = opened
        self._file: IO[bytes] | None = None
        self._position = 0

    def at(self, offset: int) -> IO[bytes]:
        """The file at `offset`.  The archive's own reader serves until it has passed there."""
        try:
            if self._opened:
                self._file, self._opened = self._opened(), None
            elif self._file is None or offset < self._position:
                self.close()
                self._file, self._position = self._archive.open(self._entry.member), 0
        except self._archive.errors as error:
            raise sending.source_changed(self._entry.path) from error
        while self._position < offset and self.read(min(content.PIECE, offset - self._position)):
            pass
        return cast("IO[bytes]", self)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes more.

        Raises:
            Failure: the file cannot be read any more, or ends earlier than it did.

        """
        try:
            data = self._file.read(size) if self._file else b""
        except self._archive.errors as error:
            raise sending.source_changed(self._entry.path) from error
        if not data and self._position < self._entry.size:
            raise sending.source_changed(self._entry.path)
        self._position += len(data)
        if self._position > self.furthest:
            self._moved(self._position - self.furthest)
            self.furthest = self._position
        return data

    def close(self) -> None:
        """Close the file; `at` opens it again."""
        if self._file:
            self._file.close()
        self._file = None
