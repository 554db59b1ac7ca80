"""The settings of telling Sentry about releases."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.lib.settings.values import CLOSED


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Sentry:
    """Which project in Sentry is told."""

    organization: str
    project: str
    url: Annotated[str, Field(pattern=r"^https?://")]
