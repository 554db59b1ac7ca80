"""Removing objects: only as they were planned, and only while nobody else manages them."""

from collections.abc import Collection, Sequence
from typing import Final

from tasks.lib import signals
from tasks.lib.background import side_by_side
from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import CONNECTIONS
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kinds
from tasks.lib.deploy.events import Record, Result, Tell, Told
from tasks.lib.deploy.objects import is_going
from tasks.lib.deploy.plan.decide import PAUSES, Step, get
from tasks.lib.deploy.plan.phases import rank
from tasks.lib.deploy.plan.prune import reason_to_leave
from tasks.lib.errors import Failure

LATER: Final = "Everything is ready; the next deploy tries again to prune the rest."


class Removing:
    """Deletions in one cluster.

    Args:
        controllers: field managers that only complete what others deploy.

    """

    def __init__(
        self, api: Api, kinds: Kinds, controllers: Collection[str], record: Record, tell: Tell
    ) -> None:
        self._api, self._kinds, self._controllers = api, kinds, controllers
        self._record, self._tell = record, tell

    def remove(self, steps: Sequence[Step]) -> None:
        """Remove what may be removed: first what others do not lean on; what is left is told.

        Raises:
            Failure: the cluster refused some; the others are gone.

        """
        first: Failure | None = None
        for place in sorted({rank(step.ref.kind) for step in steps}, reverse=True):
            due = [step for step in steps if rank(step.ref.kind) == place]
            failures = side_by_side(self._remove, due, CONNECTIONS)
            first = first or next((one for one in failures if one), None)
        if first:
            raise first

    def _remove(self, step: Step) -> Failure | None:
        self._record.begin(step.ref, Result.REMOVING)
        try:
            left = self._left_because(step)
        except Failure as failure:
            self._record.end(step.ref, Result.FAILED, "not removed")
            return failure
        self._record.end(step.ref, Result.LEFT if left else Result.REMOVED)
        self._tell(Told(step.ref, f"left: {left}" if left else "removed"))
        return None

    def _left_because(self, step: Step) -> str:
        """Remove one object; returns why it was left, or nothing."""
        kind = self._kinds.get((step.ref.api_version, step.ref.kind))
        if kind is None:  # its definition was never established, so no object exists
            return ""
        path = kind.path(step.ref.namespace, step.ref.name)
        for pause in PAUSES:
            signals.sleep(pause)
            live = get(self._api, kind, step.ref)
            if live is None or is_going(live):
                return ""
            if reason := reason_to_leave(step, live, self._controllers):
                return reason
            try:
                self._api.request("DELETE", path, doing=f"delete {step.ref}", body=_options(live))
            except ApiError as error:
                if error.status not in {404, 409}:
                    raise
            else:
                return ""
        return "it keeps changing"


def _options(live: Json) -> Json:
    metadata = live["metadata"]
    return {
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
    }  # fmt: skip
