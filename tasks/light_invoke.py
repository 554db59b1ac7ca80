"""Invoke without half of what its import loads, which was a third of the time until a task began.

That is unittest.mock, and asyncio with it, for MockContext; importlib.metadata, and email with it, for its
version; and a copy of PyYAML.  Regular expressions are compiled when they are first used: one of PyYAML's
takes as long as a fifth of Invoke to load, and is for YAML that libyaml does not read.  Of ipaddress,
platform and typing_extensions, other libraries ask for nothing, or for what Python has elsewhere.  Whoever
asks for more of any of these still gets it.
"""

import importlib
import os
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILE = re.compile


def load() -> None:
    """Import Invoke; where it is there already, there is nothing to do."""
    if "invoke" in sys.modules:
        return
    _put_off()
    with _patterns_when_used():
        _import_invoke()


def _import_invoke() -> None:
    import yaml

    mock, metadata = _Deferred("unittest.mock"), _Deferred("importlib.metadata")
    vars(mock)["Mock"] = _mock
    vars(metadata)["version"] = lambda _: ""
    with _instead({mock.__name__: mock, metadata.__name__: metadata, "invoke.vendor.yaml": yaml}):
        import invoke
    del invoke.__version__
    vars(invoke)["__getattr__"] = _version


def _put_off() -> None:
    """Have imports find stand-ins for what they hardly use, until somebody asks more of one."""
    for name, known in (
        ("ipaddress", {}),  # for urllib.parse, and for addresses in brackets only
        ("platform", {"system": lambda: os.uname().sysname}),  # for uuid
        (
            "typing_extensions",  # for msgspec, which takes from it what Python 3.11 has
            {name: getattr(typing, name) for name in ("get_type_hints", "NotRequired", "Required")},
        ),
    ):
        if name not in sys.modules:
            sys.modules[name] = _Deferred(name)
            vars(sys.modules[name]).update(known)


@contextmanager
def _patterns_when_used() -> Iterator[None]:
    """Have the modules that are imported meanwhile compile a regular expression when they first use it."""
    re.compile = _Pattern  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = COMPILE


class _Pattern:
    """A regular expression that is compiled once something is asked of it."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._asked = pattern, flags

    def __getattr__(self, name: str) -> Any:
        compiled = COMPILE(*self._asked)
        vars(self).update({method: getattr(compiled, method) for method in ("match", "search", "sub")})
        return getattr(compiled, name)

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        """Have it copied and pickled as what it stands for."""
        return COMPILE, self._asked


class _Deferred(ModuleType):
    """Stands for a module, which is imported once something is asked that this one does not have."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # by __path__ the import system asks whether this is a package
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _instead(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Have imports find `modules`, but for those that are there already, as long as this lasts."""
    put = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name, module in put.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _mock(*args: Any, **kwargs: Any) -> Any:
    from unittest.mock import Mock

    return Mock(*args, **kwargs)


def _version(name: str) -> str:
    """Invoke's `__version__`, as a module's `__getattr__` (PEP 562)."""
    if name != "__version__":
        raise AttributeError(f"module 'invoke' has no attribute {name!r}")
    from importlib.metadata import version

    return version("invoke")
