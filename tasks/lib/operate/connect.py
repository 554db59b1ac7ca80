"""psql in an environment's database, or a tunnel to it for another program, through the cluster.

The password is only in a file of the private folder that psql reads; it is in no command line and in no
environment, and psql writes no history.
"""

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from tasks.lib import process
from tasks.lib.cluster import gke, kubectl
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.operate import permissions
from tasks.lib.operate.login import Login, login
from tasks.lib.operate.terminal import PRODUCTION
from tasks.lib.operate.tunnel import ADDRESS, Door, Tunnel, door, tunnel
from tasks.lib.process import Changes
from tasks.lib.redaction import Redactor
from tasks.lib.render import kustomize
from tasks.lib.settings.model import Environment, Settings

PSQL: Final = "psql"
READ_ONLY: Final = "-c default_transaction_read_only=on"
SECONDS_TO_CONNECT: Final = 15
PORTS: Final = range(1, 65536)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Open:
    """An open way to a database."""

    login: Login
    door: Door
    tunnel: Tunnel
    private: kubectl.Kubectl


def connect(settings: Settings, environment: Environment, command: str, write: bool, say: Say) -> int:
    """Run psql, or one command of SQL in it; returns its exit code.

    Raises:
        Failure: psql is not installed, a right is missing, no pod of the proxy is ready, or the tunnel ended.

    """
    require_psql(environment)
    with _opened(settings, environment, 0) as way:
        say(f"{environment.name}: {way.login.database} as {way.login.user}, {mode(write)}.")
        passwords = way.private.folder / "pgpass"
        write_atomically(passwords, pgpass(way.login))
        env = variables(way.login, way.tunnel.port, str(passwords), write)
        code = process.beside_another(
            psql(command), env=env, other=way.tunnel.end, own_interrupts=not command
        )
        if code is None:
            raise way.tunnel.failure(way.door)
        return code


def leave_open(
    settings: Settings, environment: Environment, port: int, write: bool, say: Say, show: Say
) -> None:
    """Leave a tunnel open for any client until interrupted; `show` gets the address, without the password.

    Raises:
        UsageError: the port is none, or another program has it.
        Failure: a right is missing, no pod of the proxy is ready, or the tunnel ended.

    """
    if port not in PORTS:
        raise UsageError(f"--port {port} is not a port.", "It should be from 1 to 65535.")
    with _opened(settings, environment, port) as way:
        say(f"{environment.name}: a tunnel to {way.login.database} is open on {ADDRESS}:{port} until Ctrl-C.")
        of = f"./inv secrets.exec --environment {environment.name} --"
        say(f"The password is DB_PASSWORD: {of} printenv DB_PASSWORD")
        script = f'PGPASSWORD="$DB_PASSWORD" exec psql "{address(way.login, port, write)}"'
        say(f"With psql, without seeing it: {of} {shlex.join(('sh', '-c', script))}")
        if not write:
            say("The address makes sessions read-only; a client that leaves its options out may write.")
        show(address(way.login, port, write))
        way.tunnel.end.wait()
        raise way.tunnel.failure(way.door)


@contextmanager
def _opened(settings: Settings, environment: Environment, port: int) -> Iterator[Open]:
    """A tunnel to the pod of the database's proxy while inside."""
    found = login(settings, environment)
    redactor = Redactor([found.password.reveal().decode(errors="replace")])
    with gke.reached(settings, environment) as connection, redactor.failures():
        gke.check_mark(connection.api, environment)
        permissions.require(
            connection.api,
            permissions.of_kubectl_port_forward(environment.namespace),
            "forward a port to a pod",
        )
        there = door(connection.api, environment, found.host)
        program, limit = kustomize.kubectl(settings), settings.time_limits.kubernetes
        with (
            kubectl.private(program, connection.api, environment.namespace) as private,
            tunnel(private, there, port, limit) as made,
        ):
            yield Open(found, there, made, private)


def require_psql(environment: Environment) -> None:
    """Check that psql is installed.

    Raises:
        Failure: it is not.

    """
    if not shutil.which(PSQL):
        raise Failure(
            "psql is not installed.",
            "It is a part of PostgreSQL's client.",
            "Install it: apt-get install postgresql-client (macOS: brew install libpq). For other clients: "
            f"./inv database.connect --environment {environment.name} --port 5433",
        )


def typed(environment: Environment, confirmed: str, answer: Callable[[], str], say: Say) -> None:
    """Ask for the environment's name before a session that may write, unless --confirm has it already.

    Raises:
        UsageError: --confirm has another name.
        Failure: the answer is another one.

    """
    if confirmed and confirmed != environment.name:
        raise UsageError(f"--confirm {confirmed} is not the environment {environment.name}.")
    if confirmed or environment.name != PRODUCTION:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "Cannot prompt: stdin is not a terminal.", "", f"Add --confirm {environment.name} to write."
        )
    say(f"This session may change the data of {environment.name}.")
    say(f"Type {environment.name} to go on, anything else to stop:")
    if answer() != environment.name:
        raise Failure("The session was not approved: nothing was done.")


def psql(command: str) -> tuple[str, ...]:
    """The argv of psql: with the user's own psqlrc for a person, without it for a single command."""
    return (PSQL, "--no-password", *(("--no-psqlrc", f"--command={command}") if command else ()))


def variables(found: Login, port: int, passwords: str, write: bool) -> Changes:
    """The environment of psql: how it connects, and nothing of the user's own that would change that."""
    users_own = dict.fromkeys(name for name in os.environ if name.startswith("PG"))
    return {
        **users_own,
        "PGHOST": ADDRESS,
        "PGPORT": str(port),
        "PGUSER": found.user,
        "PGDATABASE": found.database,
        "PGPASSFILE": passwords,
        # The proxy in the cluster encrypts what leaves it, and kubectl what goes there.
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PGCONNECT_TIMEOUT": str(SECONDS_TO_CONNECT),
        "PGCLIENTENCODING": "UTF8",
        "PGAPPNAME": f"lookit-orchestrator {os.environ.get('USER', '')}@{socket.gethostname()}",
        "PGOPTIONS": None if write else READ_ONLY,
        "PSQL_HISTORY": os.devnull,
    }


def pgpass(found: Login) -> bytes:
    """The password file: for whatever is at the end of the tunnel."""
    password = found.password.reveal().replace(b"\\", b"\\\\").replace(b":", b"\\:")
    return b"*:*:*:*:" + password + b"\n"


def mode(write: bool) -> str:
    """What a session may do, in words."""
    return "may WRITE" if write else "read-only: --write allows changes"


def address(found: Login, port: int, write: bool) -> str:
    """The database's address for any client, without the password."""
    options = "" if write else f"?options={quote(READ_ONLY)}"
    return f"postgresql://{quote(found.user)}@{ADDRESS}:{port}/{quote(found.database)}{options}"
