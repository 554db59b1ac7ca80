"""The render of one environment, from settings to documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.render import documents, kustomize
from tasks.lib.workspace import workspace

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings


@dataclass(frozen=True)
class Rendered:
    """The objects of one environment, and what kustomize warned about while it built them."""

    documents: list[documents.Document]
    warnings: list[str]


def render(
    settings: "Settings",
    environment: "Environment",
    variables: BuildVariables,
    secrets: Mapping[str, Secret],
) -> Rendered:
    """Render all objects of `environment`, in the order that kustomize gives them.

    Nothing is written outside a private folder in memory, which is gone when this returns.

    Args:
        settings: the settings in force.
        environment: what to render.
        variables: the release that manifests speak of.
        secrets: plaintext of each encrypted file, by file name.

    Raises:
        UsageError: a template refers to a variable that is not there.
        Failure: the tree cannot be built, or holds no object.
        TimedOut: kustomize did not finish within time_limits.render.

    """
    with workspace() as folder:
        done = kustomize.build(
            settings, environment, declared(settings, environment, variables), secrets, folder
        )
    warnings = [line for line in done.stderr.decode().splitlines() if line.strip()]
    found = documents.split(done.stdout.decode())
    if not found:
        raise Failure(
            f"The tree of {environment.name} holds no object.",
            f"kustomize built {environment.overlay} without a fault, and printed nothing.",
            "Look at its kustomization.yaml: `resources:` names what belongs to it.",
        )
    return Rendered(found, warnings)


def declared(settings: "Settings", environment: "Environment", variables: BuildVariables) -> dict[str, str]:
    """What templates may refer to: Cloud Build's variables, the image's repository and the environment."""
    return {
        **variables.as_environment(),
        "IMAGE_REPOSITORY": settings.image.repository,
        "ENVIRONMENT": environment.name,
    }
