"""A dump of an environment's database in its private bucket."""

import re
from datetime import UTC, datetime
from typing import Final

from tasks.lib.deploy.backup.exports import Export
from tasks.lib.deploy.events import Tell
from tasks.lib.errors import UsageError
from tasks.lib.google import sessions
from tasks.lib.operate.login import login
from tasks.lib.settings.model import Environment, Settings

FOLDER: Final = "exports"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def export(settings: Settings, environment: Environment, name: str, tell: Tell) -> str:
    """Write a dump of the database into the private bucket, wait for it, and return its gs:// address.

    Raises:
        UsageError: invoke.yaml names no instance or no private bucket, or the name is not valid.
        Failure: it is refused, or it failed.
        TimedOut: it takes longer than time_limits.backup.

    """
    address = address_of(environment, name, datetime.now(UTC))
    session = sessions.authorized_session(settings.google)
    database = login(settings, environment).database
    return Export(settings, environment, session, tell).write(database, address)


def address_of(environment: Environment, name: str, at: datetime) -> str:
    """Where an export goes; its name ends with the time, so that none replaces another.

    Raises:
        UsageError: invoke.yaml names no instance or no private bucket, or the name is not valid.

    """
    for key, value in (
        ("database.instance", environment.database.instance),
        ("buckets.private", environment.buckets.private),
    ):
        if not value:
            what = f"A database of {environment.name} cannot be exported."
            raise UsageError(what, f"environments.{environment.name}.{key} in invoke.yaml is empty.")
    name = name or environment.name
    if not NAME.fullmatch(name):
        raise UsageError(
            f"--name {name!r} is not a name for an export.", "Use letters, digits, dots, dashes, underscores."
        )
    return f"gs://{environment.buckets.private}/{FOLDER}/{name}-{at:%Y%m%dT%H%M%SZ}.sql.gz"
