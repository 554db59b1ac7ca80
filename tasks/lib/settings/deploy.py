"""The settings of the deploy engine."""

from typing import Annotated

from msgspec import Meta, Struct

# `Deployment`, or `Deployment/web` with the name as it is without the environment's prefix.
Chosen = Annotated[str, Meta(pattern=r"^[A-Z][A-Za-z]+(/[a-z0-9][-a-z0-9.]*)?\Z")]


class Phase(Struct, frozen=True, kw_only=True):
    """One step of a deploy: what it applies, and waits for, before the next begins."""

    title: Annotated[str, Meta(min_length=1)]
    objects: list[Chosen]


# The command line of a task, as after ./inv, its quotes closed; a deploy within a deploy would wait for its
# own lock.
WORDS = r"""([^'"\\\n]|\\.|'[^'\n]*'|"([^"\\\n]|\\.)*")*"""
Hook = Annotated[str, Meta(pattern=rf"^(?!deploy\b)[a-z][\w.-]*( {WORDS})?\Z")]
Told = Annotated[str, Meta(pattern=r"^(start|success|failure)\Z")]


class Hooks(Struct, frozen=True, kw_only=True):
    """Tasks that run around a deploy."""

    before_deploy: list[Hook]
    after_deploy: list[Hook]
    after_failure: list[Hook]


class Webhook(Struct, frozen=True, kw_only=True):
    """Who is notified of deploys."""

    variable: Annotated[str, Meta(pattern=r"^([A-Z][A-Z0-9_]*)?\Z")]
    events: list[Told]


class Deploy(Struct, frozen=True, kw_only=True):
    """How a deploy goes about it."""

    phases: Annotated[list[Phase], Meta(min_length=1)]
    # Field managers whose values are taken over silently: those of the tools that deployed before.
    predecessors: list[str]
    # Field managers that complete what others deploy: their entries do not make an object theirs.
    controllers: list[str]
    # Jobs that change the database.
    migrations: list[Chosen]
    # What something else creates in time: it may be named though it is not there yet.
    provided: list[Chosen]
    # Custom resources that become Ready, and whether Ingresses and load balancers are waited for.
    ready_kinds: list[Chosen]
    addresses: bool
    # Whether pods restart when a ConfigMap or Secret that they read changes under the same name.
    restart_readers: bool
    # Whether a deploy removes what earlier releases deployed and it does not.
    prune: bool
    # Whether a failed deploy brings the last good release back, and where it keeps its evidence first.
    roll_back: bool
    evidence: Annotated[str, Meta(min_length=1)]
    hooks: Hooks
    webhook: Webhook
