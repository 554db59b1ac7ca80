"""The settings of telling Sentry about releases."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta


@dataclass(frozen=True, kw_only=True)
class Sentry:
    """Which project in Sentry is told."""

    organization: str
    project: str
    url: Annotated[str, Meta(pattern=r"^https?://")]
