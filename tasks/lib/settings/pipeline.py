"""The settings of running Cloud Build's files on this machine."""

from dataclasses import dataclass

from tasks.lib.settings.values import Name


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """How a pipeline is run."""

    file: Name
    orchestrator: Name
    arguments: dict[str, str]
    secrets: list[str]
    network: Name
    location: Name
    mounts: list[str]
    substitutions: dict[str, str]
