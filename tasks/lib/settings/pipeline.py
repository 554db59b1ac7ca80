"""The settings of running Cloud Build's files on this machine."""

from msgspec import Struct

from tasks.lib.settings.values import Name


class Pipeline(Struct, frozen=True, kw_only=True):
    """How a pipeline is run."""

    file: Name
    orchestrator: Name
    arguments: dict[str, str]
    secrets: list[str]
    network: Name
    location: Name
    mounts: list[str]
    substitutions: dict[str, str]
    artifacts: Name
    reports: Name
