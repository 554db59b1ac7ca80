"""From a build file's text to its types, checked whole: every fault is reported, in Cloud Build's terms."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.lib.errors import UsageError, all_faults
from tasks.lib.pipeline.model import Build
from tasks.lib.pipeline.rules import RULES
from tasks.lib.structure import Faults, Kind, fill

if TYPE_CHECKING:
    from collections.abc import Mapping


def load(path: Path) -> Build:
    """Read and check a build file.

    Raises:
        UsageError: it is missing, no YAML, or breaks a rule; all such faults are listed.

    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(
            f"The build file {path} cannot be read.", str(error), "Name one with --file."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML.", str(error)) from error
    return parse(content, str(path))


def parse(content: "Mapping[str, Any]", where: str) -> Build:
    """Check the content of a build file named `where`.

    Raises:
        UsageError: it breaks a rule; all faults are listed.

    """
    try:
        build = fill(Build, content, forgiven=frozenset({Kind.UNKNOWN}))
    except Faults as error:
        faults = [
            f"{fault.key} is {fault.kind.value}."
            if fault.kind is Kind.MISSING
            else f"{fault.key} should be {fault.expected}."
            for fault in error.faults
        ]
        raise all_faults(f"{where} is not a build file of Cloud Build.", faults) from error
    if faults := [fault + "." for rule in RULES for fault in rule(build)]:
        raise all_faults(f"Cloud Build would refuse {where}.", faults)
    return build
