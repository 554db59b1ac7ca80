"""The workloads that a task is about, by the names that people type."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tasks.lib.cluster import gke, kinds
from tasks.lib.cluster.api import Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy.maintenance import is_page, runs
from tasks.lib.deploy.objects import annotations, is_going
from tasks.lib.deploy.rollout import diagnose
from tasks.lib.deploy.rollout.readiness import condition
from tasks.lib.errors import UsageError, nearest
from tasks.lib.redaction import Redactor
from tasks.lib.secrets import sensitive
from tasks.lib.settings.model import Environment, Settings

KINDS: Final = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"))
# The annotation of those that a restore has stopped: how many pods they had.
RESTORE: Final = "lookit-orchestrator/replicas-before-restore"


def find(
    settings: Settings, environment: Environment, connection: Connection, names: Sequence[str]
) -> list[Json]:
    """The workloads called `names`, without prefix or with it; for no names, those that run the application.

    Raises:
        UsageError: there is none of a name; the message names those that are there.

    """
    return chosen(listed(connection, environment.namespace), names, environment, settings.image.repository)


def names(settings: Settings, environment: Environment) -> list[str]:
    """The workloads of an environment, as people type them.

    Raises:
        Failure: the cluster cannot be asked.

    """
    with gke.reached(settings, environment) as connection:
        return sorted(bare(one, environment) for one in listed(connection, environment.namespace))


def listed(connection: Connection, namespace: str) -> list[Json]:
    """All Deployments and StatefulSets of a namespace."""
    return [one for key in KINDS for one in kinds.listed(connection.api, connection.kinds[key], namespace)]


@contextmanager
def reached(settings: Settings, environment: Environment) -> Iterator[tuple[Connection, Redactor]]:
    """The environment's cluster, and what takes its secret values out of what is told: pods may log them.

    Raises:
        Failure: it is not the expected cluster, or refuses to list Secrets.

    """
    redactor = Redactor(public=sensitive.public(settings))
    with gke.reached(settings, environment) as connection, redactor.failures():
        gke.check_mark(connection.api, environment)
        path = f"/api/v1/namespaces/{environment.namespace}/secrets"
        found, _ = connection.api.list(path, doing="list secrets")
        redactor.learn(sensitive.in_objects(found, redactor.public))
        yield connection, redactor


def chosen(there: Sequence[Json], names: Sequence[str], environment: Environment, image: str) -> list[Json]:
    """Those of `there` that are meant, each once.

    Raises:
        UsageError: none has one of the names, or none runs the application's image.

    """
    by_name = {bare(one, environment): one for one in there}
    if not names:
        if found := [one for one in there if runs(one, image) and not is_page(one)]:
            return found
        raise _unknown(f"No workload of {environment.name} runs {image}.", by_name, "")
    wanted = [name.removeprefix(environment.prefix) for name in names]
    for name in wanted:
        if name not in by_name:
            raise _unknown(f"There is no workload {name!r} in {environment.name}.", by_name, name)
    return [by_name[name] for name in dict.fromkeys(wanted)]


def bare(workload: Json, environment: Environment) -> str:
    """A workload's name as people type it: without the environment's prefix."""
    return str(workload["metadata"]["name"]).removeprefix(environment.prefix)


def belongs(pod: Json, found: Iterable[Json]) -> bool:
    """Whether a pod is one of a workload's, by its selector."""
    labels = (pod["metadata"].get("labels") or {}).items()
    return any(labels >= (one["spec"]["selector"].get("matchLabels") or {}).items() for one in found)


def is_stopped(workload: Json, note: str) -> bool:
    """Whether a workload has no pods for the reason that this annotation stands for."""
    return note in annotations(workload) and not workload["spec"].get("replicas", 1)


def newest_ready(pods: Iterable[Json]) -> Json | None:
    """The newest pod that is ready and stays; None where none is."""
    ready = [pod for pod in pods if condition(pod, "Ready").get("status") == "True" and not is_going(pod)]
    return max(ready, key=lambda pod: _age(pod["metadata"]), default=None)


def why_not_ready(pod: Json) -> str:
    """Why a pod is not ready, with its name."""
    if found := diagnose.of_pod({**pod, "kind": "Pod"}):  # a list leaves the kind out
        return str(found[0])
    why = "it is being removed" if is_going(pod) else condition(pod, "Ready").get("message")
    return f"pod {pod['metadata']['name']}: {why or (pod.get('status') or {}).get('phase', 'Pending')}"


def _age(metadata: Json) -> tuple[str, str]:
    return str(metadata["creationTimestamp"]), str(metadata["name"])


def _unknown(what: str, by_name: dict[str, Json], name: str) -> UsageError:
    guess = nearest(name, by_name) if name else ""
    known = f"There are: {', '.join(sorted(by_name)) or 'none'}."
    return UsageError(what, known, f"Did you mean {guess}?" if guess else "./inv status shows them.")
