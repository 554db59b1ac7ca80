"""Injected faults, for tests: a list in `faults.json` in the state folder, read again before every call.

Each has the calls it applies to, `rpc` (a name or `*`) and `resource` (a regular expression), how often
(`times`, for ever by default; `skip` calls first), and what happens:

- `touch`: make this file, so that a test knows that the call has come;
- `delay`: seconds to wait, then answer as usual;
- `hang`: never answer;
- `code`, `message`, `reason`, `metadata`: refuse so;
- `spoil`: a field of the answer that is sent damaged, such as `plaintext_crc32c`.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.kms.refusals import Refusal

FAULTS = "faults.json"


class Faults:
    """The faults in force, and how often each has struck since the file last changed."""

    def __init__(self, state: Path) -> None:
        self._path = state / FAULTS
        self._mark: object = None
        self._calls: dict[int, int] = {}
        self._lock = threading.Lock()

    def striking(self, rpc: str, resource: str) -> list[Mapping[str, Any]]:
        """The faults that strike this call; each is counted."""
        with self._lock:
            mark, faults = self._read()
            if mark != self._mark:
                self._mark, self._calls = mark, {}
            return [
                fault
                for index, fault in enumerate(faults)
                if _concerns(fault, rpc, resource) and self._due(index, fault)
            ]

    def _read(self) -> tuple[object, list[Mapping[str, Any]]]:
        """A mark that differs whenever the file does, and the faults in it; none where there is none."""
        try:
            with self._path.open() as file:
                status = os.fstat(file.fileno())
                return (status.st_ino, status.st_mtime_ns), json.load(file)
        except FileNotFoundError:
            return None, []

    def _due(self, index: int, fault: Mapping[str, Any]) -> bool:
        self._calls[index] = self._calls.get(index, 0) + 1
        first = int(fault.get("skip", 0))
        last = first + fault["times"] if "times" in fault else float("inf")
        return bool(first < self._calls[index] <= last)


def before(fault: Mapping[str, Any], is_wanted: Callable[[], bool]) -> None:
    """Do what a fault does before the call; `is_wanted` tells whether the caller is still waiting."""
    if path := fault.get("touch"):
        Path(path).touch()
    time.sleep(float(fault.get("delay", 0)))
    if fault.get("hang"):
        while is_wanted():
            time.sleep(0.02)
        raise Refusal("CANCELLED", "The caller went away.")
    if code := fault.get("code"):
        raise Refusal(code, fault.get("message", code), fault.get("reason", ""), fault.get("metadata", {}))


def after(fault: Mapping[str, Any], answer: Any) -> None:
    """Damage the field of the answer that the fault names."""
    if name := fault.get("spoil"):
        setattr(answer, name, _damaged(getattr(answer, name)))


def _concerns(fault: Mapping[str, Any], rpc: str, resource: str) -> bool:
    return fault.get("rpc", "*") in {"*", rpc} and bool(re.search(fault.get("resource", ""), resource))


def _damaged(value: bool | bytes | int) -> bool | bytes | int:
    if isinstance(value, bool):
        return not value
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value ^ 1
