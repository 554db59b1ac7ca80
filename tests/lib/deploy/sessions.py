"""A session of a deploy to staging, for tests of its steps."""

from types import SimpleNamespace
from typing import Any

from tasks.lib.deploy.events import Event, Record
from tasks.lib.deploy.lock.holder import Claim
from tasks.lib.deploy.releases.seal import Seal
from tasks.lib.deploy.session import Session
from tasks.lib.redaction import Redactor
from tests.builders import checked_in_settings


def a_session(connection: Any = None, told: list[Event] | None = None, **settings: Any) -> Session:
    """A session that holds no lock; `told` gets what is told."""
    read = checked_in_settings(**settings)
    staging = read.environment("staging")
    heard = told if told is not None else []
    reached: Any = connection or SimpleNamespace(api=None, kinds={})
    seal = Seal((staging.name, staging.namespace))
    return Session(read, staging, reached, Claim("me"), seal, Redactor(), Record("staging"), heard.append)
