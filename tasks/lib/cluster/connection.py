"""From settings to a connection: credentials, GKE's answer and a client."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.lib.cluster import gke
from tasks.lib.cluster.api import Api, Patience
from tasks.lib.cluster.kinds import Kinds, discover

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Connection:
    """A cluster that answers, and the kinds it serves."""

    found: gke.Found
    api: Api
    kinds: Kinds


def connect(settings: "Settings", environment: "Environment") -> Connection:
    """Reach the environment's cluster; its first answer shows that it is there and lets us in.

    Raises:
        Failure: no credentials, no such cluster, not reachable, or not let in.

    """
    from tasks.lib.credentials import Tokens, credentials
    from tasks.lib.google_session import session_of

    found_credentials = credentials(settings.google)
    token = Tokens(found_credentials)
    found = gke.find(settings, environment, session_of(found_credentials))
    limits = settings.time_limits
    first = Api(found.endpoint, token, Patience(limits.kubernetes_attempt, limits.kubernetes_attempt))
    kinds = discover(first)
    return Connection(found, first.patient(Patience(limits.kubernetes_attempt, limits.kubernetes)), kinds)
