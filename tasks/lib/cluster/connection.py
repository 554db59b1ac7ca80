"""From settings to a connection: credentials, GKE's answer, a client, and a kubeconfig for kubectl users."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Api, Json, Patience
from tasks.lib.cluster.kinds import Kinds, discover
from tasks.lib.errors import Failure
from tasks.lib.files import write_atomically

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Connection:
    """A cluster that answers, and the kinds it serves."""

    found: gke.Found
    api: Api
    kinds: Kinds
    token: Callable[[], str]


class Tokens:
    """A token that is always valid: it is renewed shortly before it expires, by one thread at a time.

    Args:
        credentials: google-auth credentials.

    """

    def __init__(self, credentials: "Credentials") -> None:
        self._credentials = credentials
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """A bearer token that is valid now.

        Raises:
            Failure: Google refuses to issue one, or cannot be reached.

        """
        from google.auth.exceptions import GoogleAuthError

        from tasks.lib.tokens import Request

        with self._lock:
            if not self._credentials.valid:
                try:
                    self._credentials.refresh(Request())
                except GoogleAuthError as error:
                    raise Failure(
                        "Google refused to issue a token for the credentials.", str(error),
                        "gcloud auth application-default login",
                    ) from error  # fmt: skip
            return str(self._credentials.token)


def connect(settings: "Settings", environment: "Environment") -> Connection:
    """Reach the environment's cluster; its first answer shows that it is there and lets us in.

    Raises:
        Failure: no credentials, no such cluster, not reachable, or not let in.

    """
    from google.auth.transport.requests import AuthorizedSession

    from tasks.lib.credentials import credentials

    found_credentials = credentials(settings.google)
    token = Tokens(found_credentials)
    found = gke.find(settings, environment, AuthorizedSession(found_credentials))
    limits = settings.time_limits
    first = Api(found.endpoint, token, Patience(limits.kubernetes_attempt, limits.kubernetes_attempt))
    kinds = discover(first)
    return Connection(
        found, first.patient(Patience(limits.kubernetes_attempt, limits.kubernetes)), kinds, token
    )


def kubeconfig(connection: Connection, namespace: str) -> Json:
    """A kubeconfig that holds the present token, for hooks and for people who want kubectl; JSON is YAML."""
    import base64

    endpoint = connection.found.endpoint
    authority = base64.b64encode(endpoint.ca.encode()).decode()
    name = connection.found.name
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": endpoint.server,
                    **({"certificate-authority-data": authority} if authority else {}),
                },
            }
        ],
        "users": [{"name": name, "user": {"token": connection.token()}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
    }


def write_kubeconfig(connection: Connection, namespace: str, folder: Path) -> Path:
    """Write the kubeconfig into `folder`, readable by its owner only; it lasts as long as the token."""
    path = folder / "kubeconfig"
    write_atomically(path, json.dumps(kubeconfig(connection, namespace)).encode())
    return path
