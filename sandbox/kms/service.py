"""One call from beginning to end, whichever wire it came over."""

import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.kms import faults, names
from sandbox.kms.access import Access
from sandbox.kms.catalogue import RPCS, Rpc
from sandbox.kms.refusals import Refusal
from sandbox.kms.store import Store

AUDIT_LOG = "audit.jsonl"


class Service:
    """The key management service over one state folder."""

    def __init__(self, state: Path) -> None:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = Store(state)
        self._access = Access(state)
        self._faults = faults.Faults(state)
        self._audit_log = state / AUDIT_LOG
        self._audit_lock = threading.Lock()

    def call(
        self, rpc_name: str, request: Any, headers: Mapping[str, str], is_wanted: Callable[[], bool]
    ) -> Any:
        """Carry out one RPC.

        Args:
            rpc_name: a key of the catalogue.
            request: its message.
            headers: what came with it, names in lower case.
            is_wanted: tells whether the caller is still waiting.

        Raises:
            Refusal: it is not carried out; nothing has changed.

        """
        rpc = RPCS[rpc_name]
        resource = rpc.acts_on(request)
        entry = {
            "time": datetime.now(UTC).isoformat(),
            "rpc": rpc_name,
            "resource": resource,
            "quota_project": headers.get("x-goog-user-project", ""),
        }
        try:
            entry["caller"] = self._access.caller(headers.get("authorization", ""))
            answer = self._carry_out(rpc_name, rpc, request, entry["caller"], is_wanted)
        except Refusal as refusal:
            self._audit({**entry, "code": refusal.code})
            raise
        self._audit({**entry, "code": "OK"})
        return answer

    def _carry_out(
        self, rpc_name: str, rpc: Rpc, request: Any, caller: str, is_wanted: Callable[[], bool]
    ) -> Any:
        resource = rpc.acts_on(request)
        striking = self._faults.striking(rpc_name, resource)
        for fault in striking:
            faults.before(fault, is_wanted)
        names.check(resource, *rpc.patterns)
        self._access.require(caller, rpc.permission, resource)
        answer = rpc.run(self._store, request)
        for fault in striking:
            faults.after(fault, answer)
        return answer

    def _audit(self, entry: Mapping[str, str]) -> None:
        """Note who did what to which resource when, as Cloud Audit Logs would: never any content."""
        line = json.dumps(entry) + "\n"
        with self._audit_lock, self._audit_log.open("a") as log:
            log.write(line)
