"""`python -m sandbox.containers.cloud_sql FOLDER`: port 3307 of a Cloud SQL instance, in front of PostgreSQL.

It takes TLS connections with a certificate that the sandbox's Cloud SQL Admin API has signed, as the Cloud
SQL Auth Proxy makes them, and leads them on to the database. PostgreSQL is a pod in the node's own network
that listens on loopback only: as on Google, nothing comes to it but through here.
"""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

from sandbox.cloud import sql_connect
from sandbox.cloud.sql import Login
from sandbox.components import Component
from sandbox.containers import namespaces, place
from sandbox.containers.equipment import Node

HEALTH_PORT = 10246
DATABASE_PORT = 5432
IMAGE = "sandbox.local/postgres:1"
SPACE = "cloud-sql"
NAME = "postgres"
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def component(node: Node) -> Component:
    """The server of the sandbox that this module is."""
    command = (sys.executable, "-m", "sandbox.containers.cloud_sql", str(node.place.folder))
    return node.server("cloud-sql", command, f"{HEALTH_PORT}/healthz", sql_connect.PORT, ["node"])


def pod(login: Login, folder: Path) -> dict[str, Any]:
    """PostgreSQL as a pod; its data is in `folder` of the node."""
    variables = {"USER": login.user, "PASSWORD": login.password, "DB": login.database}
    container = {
        "name": NAME,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-c", "listen_addresses=127.0.0.1", "-c", f"port={DATABASE_PORT}"],
        "env": [{"name": f"POSTGRES_{name}", "value": value} for name, value in variables.items()],
        # Asked until it has started, and not for ever: each time is a process in the container.
        "startupProbe": {
            "exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-p", str(DATABASE_PORT)]},
            "periodSeconds": 1,
            "timeoutSeconds": 60,
            "failureThreshold": 600,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME},
        "spec": {
            "hostNetwork": True,
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": "data", "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"}}],
        },
    }


async def serve(front: place.Forward, health: str) -> None:
    """Lead connections on until cancelled; `health` is the address that says this runs."""
    listener = socket.create_server((front.address, front.port))
    await asyncio.start_server(_say_healthy, health, HEALTH_PORT)
    await (await namespaces.forwarding(front, listener)).serve_forever()


async def _say_healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(HEALTHY)
    await writer.drain()
    writer.close()


def main() -> None:
    """Serve until ended."""
    node = place.read(Path(sys.argv[1]))
    if not node.database:
        sys.exit("This node has no database.")
    asyncio.run(serve(node.database, node.address))


if __name__ == "__main__":
    main()
