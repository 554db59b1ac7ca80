"""Carrying out an upload's plan: what the archive holds is sent, what the bucket has already is copied."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, cast

from msgspec import Struct

from tasks.lib.ember import content, objects, resumable, sending
from tasks.lib.ember.archive.inventory import Inventory
from tasks.lib.ember.archive.source import Archive, Opener
from tasks.lib.ember.entry import Entry
from tasks.lib.ember.http import Job, Steps
from tasks.lib.ember.place import Place
from tasks.lib.ember.plan import Copy, Plan, Relabel, Send
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import UploadSummary
from tasks.lib.errors import Failure


class Transfer(Struct, frozen=True):
    """Carries out plans for one archive; `summary` counts, and `progress` is told, what was done."""

    place: Place
    archive: Archive
    inventory: Inventory
    summary: UploadSummary
    progress: Progress

    def carry_out(self, decided: Plan) -> None:
        """Send, copy and relabel what the plan says.

        Raises:
            Failure: something could not be sent.

        """
        changes = len(decided.writes) + len(decided.relabel)
        self.progress.expect(changes, sum(one.entry.size for one in decided.writes))
        try:
            instead = self.place.pool.run(self._jobs(decided))
            self.place.pool.run(self._sends([send for send in instead if send]))
        except Failure as failure:
            done = self.summary.sent + self.summary.copied + self.summary.relabelled
            so_far = (
                f"{done} of {changes} changes are in the bucket. Visitors are served what they were before."
            )
            failure.why = "\n".join(filter(None, (failure.why, so_far)))
            raise

    def _jobs(self, decided: Plan) -> Iterator[Job]:
        """A job for each change; the result of a copy is what has to be sent instead."""
        yield from (Job(self._relabelled(change)) for change in decided.relabel)
        yield from (Job(self._copied(copy)) for copy in decided.copy)
        yield from self._sends(decided.send)

    def _relabelled(self, change: Relabel) -> Steps[None]:
        yield from objects.relabel(self.place.access, change.name, change.generation, change.entry.headers)
        self.summary.relabelled += 1
        self.progress.done(0)

    def _copied(self, copy: Copy) -> Steps[Send | None]:
        instead = yield from sending.copied(self.place.access, copy)
        if not instead:
            self.summary.copied += 1
            self.progress.done(copy.send.entry.size)
        return instead

    def _sends(self, sends: Sequence[Send]) -> Iterator[Job]:
        """A job for each, opening the archive's files only as jobs are started."""
        to_read = [send for send in sends if send.entry.path not in self.inventory.kept]
        if self.archive.independent:
            # Large ones last: while as many of them as may be are on their way, nothing else is begun.
            to_read.sort(key=lambda send: not self._in_one_request(send))
        for send in sends:
            if send.entry.path in self.inventory.kept:
                yield self._small(send, self.inventory.kept.pop(send.entry.path))
        contents = self.archive.contents(self.inventory.members[send.entry.path] for send in to_read)
        try:
            for send, (_, opened) in zip(to_read, contents, strict=True):
                yield self._job(send, opened)
        except self.archive.errors as error:
            raise sending.source_changed("The archive") from error

    def _job(self, send: Send, opened: Opener) -> Job:
        if self._in_one_request(send):
            return self._small(send, self._whole(send, opened))
        again = partial(self.archive.open, self.inventory.members[send.entry.path])
        reading = _Reading(send.entry, (opened, again), self.archive.errors, self.progress)
        return Job(self._large(send, reading), resumable.HELD, alone=not self.archive.independent)

    def _small(self, send: Send, data: bytes) -> Job:
        return Job(self._written(send, data), held=2 * len(data))

    def _written(self, send: Send, data: bytes) -> Steps[None]:
        written = yield from sending.write(self.place.access, send, data)
        self._count(written.stored, send.entry.size)

    def _large(self, send: Send, reading: "_Reading") -> Steps[None]:
        written = yield from resumable.send_large(
            self.place.access, send, reading, self.place.ember.resumable_part
        )
        self._count(written.stored, send.entry.size - reading.furthest)

    def _count(self, stored: int, not_told: int) -> None:
        self.summary.sent += 1
        self.summary.stored += stored
        self.progress.done(not_told)

    def _whole(self, send: Send, opened: Opener) -> bytes:
        try:
            with opened() as file:
                return b"".join(content.pieces(file))
        except self.archive.errors as error:
            raise sending.source_changed(send.entry.path) from error

    def _in_one_request(self, send: Send) -> bool:
        compressed = content.LARGEST_TO_COMPRESS if send.entry.compressible else 0
        return send.entry.size <= max(self.place.ember.resumable_above, compressed)


class _Reading:
    """A file of an archive, read on from where it was left, or else from its beginning.

    Args:
        openers: how it is opened once, while the archive is read, and how whenever it is opened again.
    """

    def __init__(
        self,
        entry: Entry,
        openers: tuple[Opener, Opener],
        errors: tuple[type[Exception], ...],
        progress: Progress,
    ) -> None:
        self.furthest = 0
        self._entry = entry
        self._open, self._open_again = openers
        self._errors = errors
        self._progress = progress
        self._file: IO[bytes] | None = None
        self._position = 0

    def at(self, offset: int) -> IO[bytes]:
        """The file at `offset`.  The archive's own reader serves until it has passed there."""
        if self._file is None or offset < self._position:
            self.close()
            try:
                self._file, self._position = self._open(), 0
            except self._errors as error:
                raise sending.source_changed(self._entry.path) from error
            self._open = self._open_again
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
        except self._errors as error:
            raise sending.source_changed(self._entry.path) from error
        if not data and self._position < self._entry.size:
            raise sending.source_changed(self._entry.path)
        self._position += len(data)
        if self._position > self.furthest:
            self._progress.moved(self._position - self.furthest)
            self.furthest = self._position
        return data

    def close(self) -> None:
        """Close the file; `at` opens it again."""
        if self._file:
            self._file.close()
        self._file = None
