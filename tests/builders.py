"""Small things that many tests start from."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.lib.settings.model import Settings
from tasks.lib.settings.reader import Layer, read

ROOT = Path(__file__).resolve().parents[1]


@cache
def invoke_yaml() -> Mapping[str, Any]:
    """The settings of invoke.yaml as they stand there."""
    values: Mapping[str, Any] = yaml.load((ROOT / "invoke.yaml").read_text(), yaml.CSafeLoader)
    return values


def checked_in_settings(**overrides: Any) -> Settings:
    """The settings of invoke.yaml, with `overrides` (nested mappings) on top."""
    return settings_in(ROOT, overrides) if overrides else _as_checked_in()


@cache
def _as_checked_in() -> Settings:
    return settings_in(ROOT, {})


def settings_in(root: Path, overrides: Mapping[str, Any]) -> Settings:
    """The same for a checkout at `root`."""
    return read([Layer("invoke.yaml", invoke_yaml()), Layer("test", overrides)], root)
