"""From an environment's settings to its cluster: the GKE API's answer, a client, and the cluster's mark.

The mark is a ConfigMap that the first deploy writes into the environment's namespace and that each later one
checks, so settings that point to another environment's cluster are noticed.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tasks.lib import signals
from tasks.lib.background import call
from tasks.lib.cluster.api import Api, Json, Patience
from tasks.lib.cluster.endpoint import Endpoint
from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.kinds import Kinds, discover
from tasks.lib.errors import Failure
from tasks.lib.google.answers import object_in, refusal_words
from tasks.lib.google.credentials import Tokens, credentials
from tasks.lib.retry import TEMPORARY, Attempts, retry_after
from tasks.lib.settings.model import Environment, Settings

if TYPE_CHECKING:
    from requests import Response, Session

MARK: Final = "lookit-orchestrator"
NAMESPACES: Final = "/api/v1/namespaces"
UNUSABLE: Final = frozenset({"PROVISIONING", "STOPPING", "ERROR"})


class NoNamespace(Failure):
    """The environment's namespace does not exist."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The namespace {name} does not exist.", why, f"Create it once: kubectl create namespace {name}"
        )


@dataclass(frozen=True)
class Found:
    """A cluster as the GKE API describes it."""

    project: str
    location: str
    name: str
    endpoint: Endpoint
    version: str = ""  # the control plane's
    node_versions: tuple[str, ...] = ()  # of the node pools, each once


@dataclass(frozen=True)
class Connection:
    """A cluster that answers, and the kinds it serves."""

    found: Found
    api: Api
    kinds: Kinds


def connect(settings: Settings, environment: Environment, tokens: Tokens | None = None) -> Connection:
    """Connect to the environment's cluster; listing its kinds shows that it accepts the credentials.

    `tokens` are those of this process where it has some already.

    Raises Failure where there are no credentials or no such cluster, or it is not reachable or refuses them.
    """
    from tasks.lib.google.sessions import session_of

    tokens = tokens or Tokens(credentials(settings.google))
    found = find(settings, environment, session_of(tokens))
    limits = settings.time_limits
    first = Api(found.endpoint, tokens, Patience(limits.kubernetes_attempt, limits.kubernetes_attempt))
    kinds = discover(first)
    return Connection(found, first.patient(Patience(limits.kubernetes_attempt, limits.kubernetes)), kinds)


@contextmanager
def reached(
    settings: Settings, environment: Environment, tokens: Tokens | None = None
) -> Iterator[Connection]:
    """Reach the environment's cluster while inside."""
    connection = connect(settings, environment, tokens)
    try:
        yield connection
    finally:
        connection.api.close()


def find(settings: Settings, environment: Environment, session: "Session") -> Found:
    """Ask GKE for the environment's cluster.

    Raises Failure where the cluster does not exist or is not usable, permission is missing, or GKE cannot be
    reached.
    """
    response = _ask(settings, environment, session)
    if response.status_code != 200:
        raise refusal(environment, response.status_code, refusal_words(response))
    return read(environment, object_in(response, "The GKE API"))


def end_of_support(settings: Settings, environment: Environment, session: "Session") -> datetime | None:
    """When GKE's standard support of the control plane's minor version ends; None where it does not say.

    Source: https://cloud.google.com/kubernetes-engine/docs/reference/rest, fetchClusterUpgradeInfo.
    Raises Failure where GKE cannot be reached, or something else answers.
    """
    response = _ask(settings, environment, session, ":fetchClusterUpgradeInfo")
    if response.status_code != 200:  # it is not served for every cluster
        return None
    said = str(object_in(response, "The GKE API").get("endOfStandardSupportTimestamp") or "")
    try:
        ends = datetime.fromisoformat(said)
    except ValueError:
        return None
    return ends if ends.tzinfo else ends.replace(tzinfo=UTC)


def read(environment: Environment, answer: Mapping[str, Any]) -> Found:
    """Check that GKE's answer is about the right cluster, and read the endpoint in it.

    Raises Failure where the answer is about another cluster, or one that cannot be deployed to.
    """
    found = (answer.get("location") or answer.get("zone"), answer.get("name"))
    if found != (environment.zone, environment.cluster):
        wanted = f"{environment.cluster} in {environment.zone}"
        raise wrong_cluster(environment, wanted, f"{found[1]} in {found[0]}", "the GKE API")
    status = answer.get("status", "")
    if status in UNUSABLE:
        raise Failure(
            f"Cluster {environment.cluster} is {status}: it cannot be deployed to.",
            str(answer.get("statusMessage") or ""),
            f"gcloud container clusters describe {_flags(environment)}",
        )
    return Found(
        environment.project, environment.zone, environment.cluster, endpoint(environment, answer),
        str(answer.get("currentMasterVersion") or ""), node_versions(answer),
    )  # fmt: skip


def node_versions(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """The versions of the nodes, sorted: those of the pools, as during an upgrade they differ."""
    pools = [pool.get("version") for pool in answer.get("nodePools") or []]
    return tuple(sorted({str(one) for one in (pools or [answer.get("currentNodeVersion")]) if one}))


def endpoint(environment: Environment, answer: Mapping[str, Any]) -> Endpoint:
    """The DNS endpoint where it allows external traffic, else the IP address and its certificate authority.

    Raises Failure where the answer has neither.
    """
    dns: Json = (answer.get("controlPlaneEndpointsConfig") or {}).get("dnsEndpointConfig") or {}
    if dns.get("endpoint") and dns.get("allowExternalTraffic"):
        return Endpoint(f"https://{dns['endpoint']}")
    address = answer.get("endpoint")
    authority = (answer.get("masterAuth") or {}).get("clusterCaCertificate")
    try:
        pem = base64.b64decode(authority or "", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        pem = ""
    if not address or "BEGIN CERTIFICATE" not in pem:
        raise Failure(
            f"GKE's answer about cluster {environment.cluster} has no usable endpoint.",
            f"endpoint: {address or 'none'}; certificate authority: {'given' if pem else 'none'}; "
            f"DNS endpoint: {'none' if not dns.get('endpoint') else 'no external traffic'}.",
            f"gcloud container clusters describe {_flags(environment)}",
        )
    return Endpoint(f"https://{address}", pem)


def wrong_cluster(environment: Environment, expected: str, found: str, source: str) -> Failure:
    """The error for a cluster that is not the expected one."""
    return Failure(
        "This is not the expected cluster; nothing was changed.",
        f"expected {expected}\nfound    {found}\nsource:  {source}",
        f"Check its project, zone, cluster and namespace: ./inv settings --environment {environment.name}",
    )


def refusal(environment: Environment, status: int, words: str) -> Failure:
    """The error for GKE's refusal."""
    name = environment.cluster_name
    what, next_step = {
        401: ("GKE does not accept the credentials.", "gcloud auth application-default login"),
        403: (
            f"Missing permission to read cluster {environment.cluster}.",
            f"gcloud projects add-iam-policy-binding {environment.project} --role roles/container.developer "
            "--member …",
        ),
        404: (
            f"There is no cluster {name}.",
            f"gcloud container clusters list --project {environment.project}",
        ),
    }.get(
        status, (f"GKE answered {status} when asked for {name}.", "Run the same command again in a minute.")
    )
    return Failure(what, words, next_step)


def mark(environment: Environment) -> Json:
    """The ConfigMap that names the environment."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": MARK, "namespace": environment.namespace},
        "data": _expected(environment),
    }


def _expected(environment: Environment) -> dict[str, str]:
    """The data of this environment's mark."""
    return {
        "environment": environment.name,
        "project": environment.project,
        "location": environment.zone,
        "cluster": environment.cluster,
    }


def compare_mark(environment: Environment, found: Mapping[str, str]) -> None:
    """Check the mark's data.

    Raises Failure where it names another environment or cluster.
    """
    wanted = _expected(environment)
    if dict(found) != wanted:
        source = f"ConfigMap {environment.namespace}/{MARK}"
        raise wrong_cluster(environment, _spelled(wanted), _spelled(found), source)


def check_mark(api: Api, environment: Environment) -> bool:
    """Compare the mark in the cluster with the environment; False where there is none yet.

    Raises Failure where the mark names another environment or cluster, ApiError where it cannot be read.
    """
    path = f"/api/v1/namespaces/{environment.namespace}/configmaps/{MARK}"
    try:
        found = api.get(path, doing=f"read ConfigMap {MARK}")
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    compare_mark(environment, found.get("data") or {})
    return True


def write_mark(api: Api, environment: Environment) -> None:
    """Write the mark."""
    path = f"/api/v1/namespaces/{environment.namespace}/configmaps/{MARK}"
    api.apply(path, mark(environment), doing=f"write ConfigMap {MARK}")


def lacks_namespace(api: Api, environment: Environment) -> bool:
    """Whether the namespace is not there; asked by a dry run, because few deployers may read namespaces."""
    path = f"{NAMESPACES}/{environment.namespace}/configmaps/{MARK}"
    try:
        api.apply(path, mark(environment), doing="look for the namespace", query={"dryRun": "All"})
    except ApiError as error:
        return error.status == 404
    return False


def create_namespace(api: Api, name: str) -> None:
    """Create a namespace; one that exists already is fine.

    Raises NoNamespace where we may not.
    """
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        api.request("POST", NAMESPACES, doing=f"create Namespace {name}", body=body)
    except ApiError as error:
        if error.status == 403:
            raise NoNamespace(name, error.message) from error
        if error.status != 409:
            raise


def _ask(settings: Settings, environment: Environment, session: "Session", verb: str = "") -> "Response":
    """GKE's answer, after further attempts where an error may be temporary."""
    import requests

    google, limits = settings.google.container, settings.time_limits
    address = f"{google}/v1/{environment.cluster_name}{verb}"
    attempts = Attempts(limits.container)
    while True:
        try:
            response = call(session.get, address, timeout=limits.container_attempt)
            pause = attempts.pause(retry_after(response.headers.get("Retry-After")))
            if response.status_code not in TEMPORARY or pause is None:
                return response
        except requests.RequestException as error:
            pause = attempts.pause()
            if pause is None:
                next_step = "Check the network or proxy, then run the same command again."
                raise Failure(f"The GKE API {google} could not be reached.", str(error), next_step) from error
        signals.sleep(pause)


def _flags(environment: Environment) -> str:
    return f"{environment.cluster} --project {environment.project} --location {environment.zone}"


def _spelled(data: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in data.items()) or "an empty mark"
