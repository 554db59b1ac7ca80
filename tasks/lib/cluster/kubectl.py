"""The pinned kubectl with a kubeconfig of its own: for what needs a terminal or a tunnel.

Neither the user's kubeconfig nor their kuberc is read.  The token is only in a file in a private folder,
which is removed afterwards.  kubectl reads it to connect; an open session or tunnel outlives it.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.endpoint import Endpoint, proxy_to
from tasks.lib.files import write_atomically
from tasks.lib.process import Changes
from tasks.lib.workspace import workspace

NAME: Final = "lookit-orchestrator"  # of the only cluster, user and context
# For kubectl's environment: no preferences of the user, which could change what a command does.
ENVIRONMENT: Final[Changes] = {"KUBECONFIG": None, "KUBERC": "off"}


@dataclass(frozen=True)
class Kubectl:
    """A kubectl that knows one namespace of one cluster; its programs run with `ENVIRONMENT`."""

    program: str
    folder: Path

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """A command, as a program's argv."""
        return (
            self.program,
            f"--kubeconfig={self.folder / 'kubeconfig'}",
            f"--cache-dir={self.folder / 'cache'}",
            *arguments,
        )


@contextmanager
def private(program: str, api: Api, namespace: str) -> Iterator[Kubectl]:
    """A kubectl for the cluster of `api`, while inside."""
    token = api.authorization().removeprefix("Bearer ")
    with workspace() as folder:
        config = kubeconfig(api.endpoint, token, namespace)
        write_atomically(folder / "kubeconfig", json.dumps(config).encode())
        yield Kubectl(program, folder)


def kubeconfig(endpoint: Endpoint, token: str, namespace: str) -> Json:
    """The configuration that reaches a cluster as `Api` does: its address, authority, proxy and token."""
    cluster = {"server": endpoint.server}
    if endpoint.ca:
        cluster["certificate-authority-data"] = base64.b64encode(endpoint.ca.encode()).decode()
    if proxy := proxy_to(endpoint):
        cluster["proxy-url"] = proxy
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [
            {"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": namespace}},
        ],
        "current-context": NAME,
    }
