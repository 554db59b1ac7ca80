"""Whether the add-ons are there and healthy, and serve what the manifests name."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tasks.lib.cluster.errors import ApiError
from tasks.lib.cluster.gke import Connection
from tasks.lib.errors import Failure
from tasks.lib.operate.addons import installed
from tasks.lib.render.pods import at
from tasks.lib.settings.model import Environment, Settings

CLASS: Final = ("networking.k8s.io/v1", "IngressClass")
# How Ingresses named their class before there was a field for it.
ANNOTATION: Final = "kubernetes.io/ingress.class"


def look(
    settings: Settings, environment: Environment, connection: Connection, contents: Iterable[Any]
) -> str:
    """What the cluster has of each add-on.

    Raises:
        Failure: one is missing or not healthy, or no controller serves the class of an Ingress.

    """
    command = f"./inv cluster.addons --environment {environment.name}"
    try:
        problems = list(_missing_classes(connection, classes(contents)))
        found = {name: installed.look(connection, addon) for name, addon in settings.addons.items()}
    except ApiError as error:
        if error.status != 403:
            raise
        raise Failure(
            "These credentials may not look at the add-ons.",
            error.message,
            f"An administrator may: {command}",
        ) from error
    problems += [problem for name, there in found.items() for problem in _problems(name, there)]
    if problems:
        raise Failure("Add-ons are missing or not healthy.", "\n".join(problems), f"{command} --plan")
    return ", ".join(f"{name} {there.version}" for name, there in found.items())


def classes(contents: Iterable[Mapping[str, Any]]) -> list[str]:
    """The classes that Ingresses name, sorted."""
    ingresses = [one for one in contents if one["kind"] == "Ingress"]
    named = (
        at(one, "spec.ingressClassName") or (one["metadata"].get("annotations") or {}).get(ANNOTATION)
        for one in ingresses
    )
    return sorted({str(name) for name in named if name})


def _problems(name: str, there: installed.Installed) -> list[str]:
    if not there.is_there:
        return [f"{name} is not installed."]
    return [f"{name}: {problem}." for problem in there.problems]


def _missing_classes(connection: Connection, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            connection.api.get(connection.kinds[CLASS].path(name=name), doing=f"read IngressClass {name}")
        except ApiError as error:
            if error.status != 404:
                raise
            yield f"There is no IngressClass {name}, which Ingresses of the manifests name."
