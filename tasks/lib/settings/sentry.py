"""The settings of telling Sentry about releases."""

from typing import Annotated

from msgspec import Meta, Struct


class Sentry(Struct, frozen=True, kw_only=True):
    """Which project in Sentry is told."""

    organization: str
    project: str
    url: Annotated[str, Meta(pattern=r"^https?://")]
