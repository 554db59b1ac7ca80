"""google-cloud-kms's messages without its clients.

The package's `__init__` loads seven clients and their transports, and its `types` the messages of services
that nobody here calls: 0.2 s for a process that wants four messages.  For the time of one import bare
stand-ins take the place of both; afterwards the real packages load as ever for whoever asks for them, and
share the messages.
"""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

PACKAGE = "google.cloud.kms_v1"
TYPES = f"{PACKAGE}.types"
# Where the messages of keys, and of what is done with keys, are defined.
MODULES = (f"{TYPES}.resources", f"{TYPES}.service")


_LOADING = Lock()


def messages() -> Any:
    """All request and response messages of the key management service, by name."""
    # Threads that decrypt side by side must not take the stand-ins from under one another.
    with _LOADING:
        return _load()


@cache
def _load() -> Any:
    if PACKAGE in sys.modules:
        return importlib.import_module(TYPES)
    found = importlib.util.find_spec(PACKAGE)
    folders = list(found.submodule_search_locations or []) if found else []
    sys.modules[PACKAGE] = _stand_in(PACKAGE, folders)
    sys.modules[TYPES] = _stand_in(TYPES, [str(Path(folder, "types")) for folder in folders])
    try:
        loaded = [vars(importlib.import_module(name)) for name in MODULES]
    finally:
        del sys.modules[TYPES], sys.modules[PACKAGE]
    return SimpleNamespace(**loaded[0], **{k: v for k, v in loaded[1].items() if k not in loaded[0]})


def _stand_in(name: str, folders: list[str]) -> ModuleType:
    """An empty package whose modules lie in `folders`."""
    made = ModuleType(name)
    made.__path__ = folders
    return made
