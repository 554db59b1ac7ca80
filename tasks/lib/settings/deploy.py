"""The settings of the deploy engine."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.lib.settings.values import CLOSED

# `Deployment`, or `Deployment/web` with the name as it is without the environment's prefix.
Chosen = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+(/[a-z0-9][-a-z0-9.]*)?$")]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Phase:
    """One step of a deploy: what it applies, and waits for, before the next begins."""

    title: Annotated[str, Field(min_length=1)]
    objects: list[Chosen]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Deploy:
    """How a deploy goes about it."""

    phases: Annotated[list[Phase], Field(min_length=1)]
    # Field managers whose values are taken over silently: those of the tools that deployed before.
    predecessors: list[str]
