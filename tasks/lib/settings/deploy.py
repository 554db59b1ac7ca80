"""The settings of a deploy."""

from typing import Annotated

from msgspec import Meta, Struct

# The name is without the environment's prefix.
Chosen = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z][A-Za-z]+(/[a-z0-9][-a-z0-9.]*)?\Z",
        description="a kind such as Deployment, or a kind and name such as Deployment/web",
    ),
]


class Phase(Struct, frozen=True, kw_only=True):
    """One phase of a deploy: its objects are applied, and waited for, before the next phase."""

    title: Annotated[str, Meta(min_length=1)]
    objects: list[Chosen]


# A deploy within a deploy would wait for its own lock.
WORDS = r"""([^'"\\\n]|\\.|'[^'\n]*'|"([^"\\\n]|\\.)*")*"""
Hook = Annotated[
    str,
    Meta(
        pattern=rf"^(?!deploy\b)[a-z][\w.-]*( {WORDS})?\Z",
        description="a task other than deploy with its options, every quote closed, as after ./inv",
    ),
]
Outcome = Annotated[str, Meta(pattern=r"^(start|success|failure)\Z", description="start, success or failure")]


class Hooks(Struct, frozen=True, kw_only=True):
    """Tasks that run around a deploy."""

    before_deploy: list[Hook]
    after_deploy: list[Hook]
    after_failure: list[Hook]


class Webhook(Struct, frozen=True, kw_only=True):
    """Who is notified of deploys."""

    variable: Annotated[str, Meta(pattern=r"^([A-Z][A-Z0-9_]*)?\Z")]
    events: list[Outcome]


class Deploy(Struct, frozen=True, kw_only=True):
    """How a deploy works."""

    phases: Annotated[list[Phase], Meta(min_length=1)]
    # Field managers whose values are taken over without asking: the tools that deployed before.
    predecessors: list[str]
    # Field managers that only complete objects which others deploy.
    controllers: list[str]
    # Jobs that change the database: it is backed up before them.
    migrations: list[Chosen]
    # Objects that others create later: manifests may refer to them before they exist.
    provided: list[Chosen]
    # Custom resources that become Ready; whether to wait for addresses of Ingresses and load balancers.
    ready_kinds: list[Chosen]
    addresses: bool
    # Whether pods restart when a ConfigMap or Secret that they read changes and keeps its name.
    restart_readers: bool
    # Whether a deploy removes objects of earlier releases that it does not have itself.
    prune: bool
    # Whether a failed deploy is rolled back, and the folder for its support bundle.
    roll_back: bool
    evidence: Annotated[str, Meta(min_length=1)]
    hooks: Hooks
    webhook: Webhook
