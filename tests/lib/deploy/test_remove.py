from typing import Any, cast

import pytest

from tasks.lib.cluster.api import Api
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kind
from tasks.lib.deploy.apply import Writer
from tasks.lib.deploy.events import Record
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted
from tasks.lib.deploy.plan.prune import reason_to_leave
from tasks.lib.deploy.steps import Action, Step
from tests.clock import Clock

WANTED = Wanted(Ref("v1", "Service", "default", "web"), {"kind": "Service", "metadata": {"name": "web"}})
OURS = {"manager": "lookit-orchestrator", "operation": "Apply"}
CONTROLLER = {"manager": "kube-controller-manager", "operation": "Update"}
STATUS = {"manager": "anyone", "operation": "Update", "subresource": "status"}
BY_HAND = {"manager": "kubectl-edit", "operation": "Update"}


def live(
    *managers: dict[str, str], uid: str = "1", applied: str = WANTED.digest, **more: Any
) -> dict[str, Any]:
    metadata = {"uid": uid, "annotations": {APPLIED: applied}, "managedFields": list(managers), **more}
    return {"metadata": metadata}


SEEN = live(OURS)


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (SEEN, live(OURS), ""),
        (SEEN, live(OURS, CONTROLLER, STATUS), ""),
        (SEEN, live(OURS, applied="other"), ""),
        (SEEN, live(OURS, uid="2"), "it was recreated by somebody else"),
        (SEEN, live(OURS, BY_HAND), "kubectl-edit also manages it"),
        (SEEN, live(BY_HAND), "it was not created by this tool"),
        (SEEN, live({**OURS, "operation": "Update"}), "it was not created by this tool"),
        (SEEN, live(OURS, ownerReferences=[{"uid": "9"}]), "it was not created by this tool"),
        (None, live(OURS), ""),
        (None, live(OURS, applied="other"), "it was changed outside this tool since"),
    ],
    ids=[
        "ours", "completed by controllers", "newer content", "made again", "edited", "foreign", "updated only",
        "made by a controller", "made by this deploy", "made by this deploy, then changed",
    ],
)  # fmt: skip
def test_only_what_is_wholly_ours_is_removed(
    before: dict[str, Any] | None, now: dict[str, Any], reason: str
) -> None:
    step = Step(WANTED, Action.DELETE, "", {}, before)
    assert reason_to_leave(step, now, ["kube-controller-manager"]) == reason


class Churning:
    """A server in which an object's status changes after every look, for a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._until, self.deleted = clock, clock.monotonic() + 1, False

    def get(self, path: str, *, doing: str) -> dict[str, Any]:
        return live(OURS, resourceVersion="1")

    def request(self, method: str, path: str, *, doing: str, body: object) -> dict[str, Any]:
        if self._clock.monotonic() < self._until:
            raise ApiError(doing, 409, "Conflict", "the object has been modified")
        self.deleted = True
        return {}


def test_an_object_that_keeps_changing_is_removed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    server, record, due = Churning(clock), Record("staging"), [Step(WANTED, Action.DELETE, "", {}, SEEN)]
    record.plan("removal", due)
    kinds = {("v1", "Service"): Kind("v1", "Service", "services", namespaced=True)}

    Writer(cast("Api", server), kinds, {}, [], record, lambda event: None, seconds=1).prune(due, [])

    assert (server.deleted, record.rows[WANTED.ref].result) == (True, "removed")
