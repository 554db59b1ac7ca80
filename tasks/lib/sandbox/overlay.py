"""What settings become when a run is meant for the sandbox."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.lib.errors import Failure
from tasks.lib.settings.reader import Layer


def settings_overlay(root: Path, layers: Sequence[Layer]) -> Mapping[str, Any]:
    """The values that lead to the sandbox of this checkout.

    Raises:
        Failure: no sandbox is up.

    """
    why = f"Nothing runs for {root} ({len(layers)} layers)."
    raise Failure("No sandbox is up in this checkout.", why, "./inv sandbox.up")
