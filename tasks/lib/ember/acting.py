"""Carrying out an upload plan: everything but index.html in parallel, index.html once all of it is there."""

from collections.abc import Iterator, Sequence
from functools import partial
from io import RawIOBase
from typing import IO

from tasks.lib.ember import content, objects, sending
from tasks.lib.ember.access import Access
from tasks.lib.ember.inspection import Inventory
from tasks.lib.ember.member import Archive, Member, Opener
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
        resumable_above: the bytes beyond which a file is sent through a session.
        summary: counts what was done.
        progress: is told as it is done.
    """

    def __init__(
        self, archive: Archive, inventory: Inventory, pool: Pool, access: Access, resumable_above: int,
        summary: UploadSummary, progress: Progress,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._kept = inventory.kept
        self._pool = pool
        self._access = access
        self._resumable_above = resumable_above
        self._summary = summary
        self._progress = progress

    def carry_out(self, decided: Plan) -> None:
        """Send and relabel what the plan says.

        Raises:
            Failure: something could not be sent; index.html is then as it was.

        """
        self._progress.expect(decided.changes, sum(one.entry.size for one in (*decided.send, *decided.last)))
        try:
            self._pool.run(self._jobs(decided))
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
        yield from self._sends(decided.send)

    def _sends(self, sends: Sequence[Send]) -> Iterator[Job]:
        """A job for each, opening the archive's files only as jobs are started."""
        to_read = [send for send in sends if send.entry.path not in self._kept]
        for send in sends:
            if send.entry.path in self._kept:
                yield sending.small(self._access, send, self._kept.pop(send.entry.path), self._sent)
        yield from self._read_again(to_read)

    def _read_again(self, sends: Sequence[Send]) -> Iterator[Job]:
        contents = self._archive.contents(send.entry.member for send in sends)
        for send, (member, opened) in zip(sends, contents, strict=True):
            if self._in_one_request(send):
                yield sending.small(self._access, send, self._whole(send, opened), self._sent)
            else:
                at = partial(_opened_at, self._archive, member, _OnceOnly(opened))
                yield sending.large(self._access, send, at, self._sent, not self._archive.independent)

    def _whole(self, send: Send, opened: Opener) -> bytes:
        try:
            with opened() as file:
                return b"".join(content.pieces(file))
        except self._archive.errors as error:
            raise sending.source_changed(send) from error

    def _in_one_request(self, send: Send) -> bool:
        entry = send.entry
        compressed = content.LARGEST_TO_COMPRESS if entry.compressible else 0
        return entry.size <= max(self._resumable_above, compressed)

    def _sent(self, send: Send, size: int) -> None:
        self._summary.sent += 1
        self._summary.stored += size
        self._progress.done(send.entry.size)

    def _relabelled(self, _change: Relabel) -> None:
        self._summary.relabelled += 1
        self._progress.done(0)

    def _removed(self, _name: str) -> None:
        self._summary.removed += 1

    def _so_far(self, decided: Plan) -> str:
        done = self._summary.sent + self._summary.relabelled
        served = (
            " index.html is as it was: visitors are served what they were before." if decided.last else ""
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
