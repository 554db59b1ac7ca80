"""The settings of running Cloud Build's files on this machine."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

CLOSED = ConfigDict(extra="forbid")
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Pipeline:
    """How a pipeline is run."""

    file: Name
    orchestrator: Name
    arguments: dict[str, str]
    network: Name
    location: Name
    mounts: list[str]
    substitutions: dict[str, str]
