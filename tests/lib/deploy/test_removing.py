from typing import Any

import pytest

from tasks.lib.deploy.decide import Action, Step
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted
from tasks.lib.deploy.removing import reason_to_leave

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
        (SEEN, live(OURS, uid="2"), "another took its place"),
        (SEEN, live(OURS, BY_HAND), "kubectl-edit has a part in it"),
        (SEEN, live(BY_HAND), "this project did not make it"),
        (SEEN, live({**OURS, "operation": "Update"}), "this project did not make it"),
        (SEEN, live(OURS, ownerReferences=[{"uid": "9"}]), "this project did not make it"),
        (None, live(OURS), ""),
        (None, live(OURS, applied="other"), "something else has written it since"),
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
