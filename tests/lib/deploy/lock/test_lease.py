"""When a holder counts as dead; tests/e2e/test_lock.py takes real locks."""

import datetime
import threading
from typing import Any, cast

import pytest

from tasks.lib.cluster.api import Api, Patience
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import Claim
from tasks.lib.deploy.lock.lease import SECONDS, Lock
from tasks.lib.retry import FIRST_PAUSE, SPREAD
from tests.builders import checked_in_settings
from tests.clock import Clock

SPEC = {"holderIdentity": "somebody", "renewTime": "then", "leaseDurationSeconds": SECONDS}
LEASE = {"metadata": {"name": lease.NAME, "uid": "1", "resourceVersion": "7"}, "spec": SPEC}


class Server:
    """Knows one Lease that nobody renews, and answers as late as it is told to."""

    def __init__(self, clock: Clock) -> None:
        self.late, self.renewed, self._clock = 0.0, "then", clock

    def get(self, path: str, *, doing: str) -> dict[str, Any]:
        self._clock.sleep(self.late)
        return {**LEASE, "spec": {**SPEC, "renewTime": self.renewed}}

    def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        return {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


def test_a_holder_that_does_not_renew_expires(clock: Clock) -> None:
    one = Lock(cast("Api", Server(clock)), checked_in_settings().environment("staging"), Claim("me"))

    assert one.take() is not None
    clock.sleep(SECONDS)
    assert one.take() is not None
    clock.sleep(1)
    assert one.take() is None


@pytest.mark.parametrize("hours", [-5, 5], ids=["late", "early"])
def test_a_wrong_clock_does_not_affect_the_lock(clock: Clock, hours: int) -> None:
    server = Server(clock)
    one = Lock(cast("Api", server), checked_in_settings().environment("staging"), Claim("me"))
    for _ in range(SECONDS):
        moment = datetime.datetime.fromtimestamp(clock.time(), datetime.UTC)
        server.renewed = f"{moment + datetime.timedelta(hours=hours):%Y-%m-%dT%H:%M:%S.%fZ}"
        assert one.take() is not None, "taken from a holder that renews"
        clock.sleep(3)

    clock.sleep(SECONDS - 3)
    assert one.take() is not None
    clock.sleep(1)
    assert one.take() is None


def test_an_unanswered_renewal_leaves_time_for_another(clock: Clock) -> None:
    """The first begins when a third of the time is over."""
    asked = list[Patience]()

    class Server:
        def patient(self, patience: Patience) -> None:
            asked.append(patience)

    Lock(cast("Api", Server()), checked_in_settings().environment("staging"), Claim("me")).hurried()

    (patience,) = asked
    pause = FIRST_PAUSE * (1 + SPREAD)
    assert SECONDS / 3 + patience.attempt + pause < SECONDS
    assert patience.attempt + pause < patience.total


class Interrupting(Server):
    """Is interrupted right after it has taken a Lease, or while somebody else holds it."""

    def __init__(self, clock: Clock, *, free: bool) -> None:
        super().__init__(clock)
        self.lease: dict[str, Any] | None = None if free else LEASE
        self.asked: list[str] = []
        self.late_signal = self.hurried = False

    def get(self, path: str, *, doing: str) -> dict[str, Any]:
        if self.lease is None:
            raise ApiError(doing, 404, "NotFound", "gone")
        return self.lease

    def request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        self.asked.append(method)
        if method == "DELETE":
            self.lease = None
            return {}
        if method == "POST":
            self.lease = {**more["body"], "metadata": LEASE["metadata"]}
            if self.late_signal:
                return {}
        raise KeyboardInterrupt

    def patient(self, patience: Patience) -> "Interrupting":
        self.hurried = patience.total < 60
        return self


@pytest.mark.parametrize(
    ("free", "asked"),
    [(True, ["POST", "DELETE"]), (False, ["PATCH"])],
    ids=["just taken", "still waited for"],
)
def test_an_interrupt_while_locking_releases_the_lock(clock: Clock, free: bool, asked: list[str]) -> None:
    server = Interrupting(clock, free=free)
    one = Lock(cast("Api", server), checked_in_settings().environment("staging"), Claim("me"))

    with pytest.raises(KeyboardInterrupt), lease.held(one, wait=60, tell=lambda event: None):
        pytest.fail("nobody may come here")

    assert server.asked == asked
    assert server.hurried is free, "nobody who interrupts waits a minute for a server that is away"


def test_an_interrupt_before_a_renewal_releases_the_lock(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    server = Interrupting(clock, free=True)
    server.late_signal = True
    one = Lock(cast("Api", server), checked_in_settings().environment("staging"), Claim("me"))
    monkeypatch.setattr(threading.Thread, "start", interrupted)

    with pytest.raises(KeyboardInterrupt), lease.held(one, wait=60, tell=lambda event: None):
        pytest.fail("nobody may come here")

    assert server.asked == ["POST", "DELETE"]


def test_an_outage_restarts_the_time_of_the_holder(clock: Clock) -> None:
    server = Server(clock)
    one = Lock(cast("Api", server), checked_in_settings().environment("staging"), Claim("me"))
    assert one.take() is not None

    server.late = 2 * SECONDS
    assert one.take() is not None, "taken from a holder that could not renew"
    server.late = 0
    clock.sleep(SECONDS)
    assert one.take() is not None
    clock.sleep(1)
    assert one.take() is None
