"""From settings to a connection: credentials, GKE's answer and a client."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Api, Patience
from tasks.lib.cluster.kinds import Kinds, discover
from tasks.lib.credentials import refresh

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Connection:
    """A cluster that answers, and the kinds it serves."""

    found: gke.Found
    api: Api
    kinds: Kinds


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
        with self._lock:
            if not self._credentials.valid:
                refresh(self._credentials)
            return str(self._credentials.token)


def connect(settings: "Settings", environment: "Environment") -> Connection:
    """Reach the environment's cluster; its first answer shows that it is there and lets us in.

    Raises:
        Failure: no credentials, no such cluster, not reachable, or not let in.

    """
    from tasks.lib.credentials import credentials
    from tasks.lib.google_session import session_of

    found_credentials = credentials(settings.google)
    token = Tokens(found_credentials)
    found = gke.find(settings, environment, session_of(found_credentials))
    limits = settings.time_limits
    first = Api(found.endpoint, token, Patience(limits.kubernetes_attempt, limits.kubernetes_attempt))
    kinds = discover(first)
    return Connection(found, first.patient(Patience(limits.kubernetes_attempt, limits.kubernetes)), kinds)
