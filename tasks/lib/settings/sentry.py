"""The settings of telling Sentry about releases."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Sentry:
    """Which project in Sentry is told."""

    organization: str
    project: str
    url: Annotated[str, Field(pattern=r"^https?://")]
