"""One deploy at a time: a Lease in the environment's namespace, renewed while a deploy runs.

Whether a holder is dead is judged by this process's own clock: its renewals have to stand still for the whole
duration while we look, and while the server answers.  So clocks that differ between machines cannot let two
inside, nor can a server that is away.
"""

import copy
import datetime
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tasks.lib import signals
from tasks.lib.cluster.api import HURRIED, MERGE_PATCH, Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import NoNamespace
from tasks.lib.deploy.events import Notice, Tell
from tasks.lib.deploy.lock.holder import NOTE, NOTED, Claim, describe, remember_killed
from tasks.lib.deploy.objects import annotations
from tasks.lib.errors import Failure, TimedOut
from tasks.lib.settings.model import Environment

NAME: Final = "lookit-orchestrator"
WAITER: Final = f"{NOTE}waiting"
SECONDS: Final = 15


class Lock:
    """The lock of one environment.

    Once it is taken, `dead` is the Lease of the holder that it was taken from, None where it was free.
    """

    def __init__(self, api: Api, environment: Environment, mine: Claim) -> None:
        self.api, self._mine = api, mine
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{environment.namespace}/leases"
        self._path = f"{self._collection}/{NAME}"
        self._namespace = environment.namespace
        unlock = f'./inv release.unlock --environment {environment.name} --by NAME --reason "…"'
        self.way_out = (
            f"Wait for it: a lock that is not renewed counts as free after {SECONDS} s.  "
            f"If that deploy is dead: {unlock}"
        )
        self._seen: tuple[str, float] = ("", 0.0)
        self.renewed = 0.0
        self.lost = threading.Event()
        self.dead: Json | None = None
        self._tried = False

    def take(self) -> Json | None:
        """Take the lock if it is free or its holder is dead; returns the Lease of the holder otherwise."""
        while True:
            asked = time.monotonic()
            there = self.read()
            if time.monotonic() - asked > SECONDS / 3:
                self._seen = ("", 0.0)  # the server was away for the holder too, which could not renew
            if there and self._is_ours(there):  # the answer to our own write was lost
                return None
            if there and self._is_alive(there):
                return there
            self.dead = there if there and there["spec"].get("holderIdentity") else None
            if self._write(there):
                return None

    def _is_alive(self, lease: Json) -> bool:
        """Whether a Lease has a holder that renewed it while we looked, or we have not looked for long."""
        renewed = f"{lease['metadata']['uid']} {lease['spec'].get('renewTime', '')}"
        if renewed != self._seen[0]:
            self._seen = (renewed, time.monotonic())
        duration = lease["spec"].get("leaseDurationSeconds") or SECONDS
        return bool(lease["spec"].get("holderIdentity")) and time.monotonic() - self._seen[1] <= duration

    def _is_ours(self, lease: Json) -> bool:
        return bool(lease["spec"].get("holderIdentity") == self._mine.holder)

    def read(self) -> Json | None:
        """The Lease, or None."""
        try:
            return self.api.get(self._path, doing="read the lock")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def announce(self) -> None:
        """Tell those who wait that a later deploy waits too."""
        notes = {"metadata": {"annotations": {WAITER: self._mine.holder}}}
        try:
            self.api.request(
                "PATCH", self._path, doing="say that we wait", body=notes, content_type=MERGE_PATCH
            )
        except ApiError as error:
            if error.status != 404:
                raise

    def is_superseded_in(self, lease: Json) -> bool:
        """Whether someone announced after us that they wait."""
        waiting = annotations(lease).get(WAITER)
        return self._mine.makes_way and waiting not in {None, self._mine.holder}

    def renew(self) -> bool:
        """Extend the lock; returns False where it is not ours any more."""
        while (there := self.read()) and self._is_ours(there):
            if self._write(there):
                return True
        return False  # else someone only announced in between that they wait

    def hurried(self) -> "Lock":
        """The same lock, asked for with tries so short that a second one ends before the lease is over."""
        same = copy.copy(self)
        same.api = self.api.patient(HURRIED)
        return same

    def require(self) -> None:
        """Check that the lock is still ours; after a standstill, as of a laptop that slept, ask the cluster.

        Raises Failure where it is not, or the cluster does not say: nothing more may be changed then.
        """
        # Not by the monotonic clock, which sleeps as the machine does.
        stood_still = abs(time.time() - self.renewed) >= SECONDS
        if self.lost.is_set() or (stood_still and not self.renew()):
            self.lost.set()
            there = self.read()
            raise Failure(
                "The lock was lost: this deploy stops here.",
                describe(there) if there else "It was released, as ./inv release.unlock does.",
                "See what the other deploy does, then deploy again.",
            )

    def release(self) -> None:
        """Give the lock back, if it is still ours."""
        there = self.read()
        if there is None or not self._is_ours(there):
            return
        if not self.delete(there, doing="give the lock back"):
            self.release()  # someone announced that they wait: once more with the newest state

    def abandon(self) -> None:
        """Give back what an interrupted attempt may have taken; else its holder counts as killed later on."""
        if self._tried:
            with suppress(Failure):
                self.hurried().release()

    def delete(self, lease: Json, *, doing: str) -> bool:
        """Delete the Lease as it was read, or find it gone; returns False where it has changed since."""
        metadata = lease["metadata"]
        unchanged = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": unchanged}
        try:
            self.api.request("DELETE", self._path, doing=doing, body=options)
        except ApiError as error:
            if error.status == 409:
                return False
            if error.status != 404:
                raise
        return True

    def wait_for_change(self, version: str, seconds: int) -> None:
        """Sleep until the Lease changes, at most `seconds`."""
        query = {
            "watch": "true", "fieldSelector": f"metadata.name={NAME}", "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }  # fmt: skip
        try:
            for _ in self.api.lines(self._collection, query=query, idle=seconds + 5):
                return
        except Failure:
            signals.sleep(0.5)  # the caller reads the Lease again and reports a lasting error

    def _lease(self, there: Json | None) -> Json:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = there is not None and self._is_ours(there)
        version = {"resourceVersion": there["metadata"]["resourceVersion"]} if there else {}
        found = annotations(there) if there else {}
        kept = {key: text for key, text in found.items() if key.removeprefix(NOTE) not in NOTED}
        notes = {f"{NOTE}{key}": value for key, value in self._mine.notes.items()}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": NAME,
                "namespace": self._namespace,
                "annotations": {**kept, **notes},
                **version,
            },
            "spec": {
                "holderIdentity": self._mine.holder,
                "leaseDurationSeconds": SECONDS,
                "acquireTime": there["spec"]["acquireTime"] if there and ours else now,
                "renewTime": now,
            },
        }

    def _write(self, there: Json | None) -> bool:
        """Make the Lease, or put ours in the place of `there`; returns False where someone was faster."""
        method, path = ("PUT", self._path) if there else ("POST", self._collection)
        now = time.time()
        self._tried = True
        try:
            self.api.request(method, path, doing="take the lock", body=self._lease(there))
        except ApiError as error:
            if error.status == 404 and method == "POST":
                raise NoNamespace(self._namespace, error.message) from error
            if error.status in {404, 409}:
                return False
            raise
        self.renewed = now
        return True


@contextmanager
def held(lock: Lock, *, wait: float, tell: Tell) -> Iterator[None]:
    """Hold the lock while inside; wait for another deploy at most `wait` seconds, 0 not at all.

    Raises NoNamespace where there is no namespace that it could lie in; Failure where it is held and there is
    no waiting, or a later deploy of the same branch waits too; TimedOut where it was held for all of `wait`.
    """
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lock, stop), name="lock", daemon=True)
    try:
        _acquire(lock, wait, tell)
        renewing.start()
    except KeyboardInterrupt:
        stop.set()
        lock.abandon()
        raise
    try:
        if lock.dead:
            tell(Notice(remember_killed(lock.api, lock.dead)))
        yield
    finally:
        with signals.uninterrupted():
            stop.set()
            renewing.join(SECONDS)
            try:
                lock.hurried().release()
            except Failure as failure:  # how the deploy itself ended stays the news
                tell(Notice(f"The lock could not be released: {failure.what} It is free after {SECONDS} s."))


def _acquire(lock: Lock, wait: float, tell: Tell) -> None:
    deadline = time.monotonic() + wait
    announced = False
    while (holder := lock.take()) is not None:
        if not wait:
            raise Failure(
                "Another deploy holds the lock: nothing was changed.", describe(holder), lock.way_out
            )
        if time.monotonic() > deadline:
            raise TimedOut(f"Another deploy held the lock for {wait:g} s.", describe(holder), lock.way_out)
        if not announced:
            lock.announce()
            announced = True
            tell(Notice(f"waiting for the deploy of {describe(holder)}"))
        elif lock.is_superseded_in(holder):
            raise Failure(
                "A later deploy waits too: this one stops, and nothing was changed.",
                f"{holder['metadata']['annotations'][WAITER]} waits.",
                "Follow that deploy instead.",
            )
        left = max(min(SECONDS, deadline - time.monotonic()), 1)
        lock.wait_for_change(holder["metadata"].get("resourceVersion", ""), int(left))


def _renew(lock: Lock, stop: threading.Event) -> None:
    """Renew at a third of the duration; an outage is survived as long as nobody else takes the lock."""
    brisk = lock.hurried()
    while not stop.wait(SECONDS / 3):
        try:
            if not brisk.renew():
                lock.lost.set()
                return
        except Failure:
            continue
        lock.renewed = brisk.renewed
