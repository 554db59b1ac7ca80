"""google-cloud-kms's messages without its clients.

The package's `__init__` loads seven clients and their transports, 0.2 s for a process that wants four
messages.  For the time of one import a bare stand-in takes its place; afterwards the real package loads as
ever for whoever asks for it, and shares the messages.
"""

import importlib.util
import sys
from functools import cache
from threading import Lock
from types import ModuleType
from typing import Any

PACKAGE = "google.cloud.kms_v1"


_LOADING = Lock()


def messages() -> Any:
    """The module with all request and response messages."""
    # Threads that decrypt side by side must not take the stand-in from under one another.
    with _LOADING:
        return _load()


@cache
def _load() -> Any:
    if PACKAGE in sys.modules:
        return importlib.import_module(f"{PACKAGE}.types")
    found = importlib.util.find_spec(PACKAGE)
    stand_in: Any = ModuleType(PACKAGE)
    stand_in.__path__ = found.submodule_search_locations if found else []
    sys.modules[PACKAGE] = stand_in
    try:
        return importlib.import_module(f"{PACKAGE}.types")
    finally:
        del sys.modules[PACKAGE]
