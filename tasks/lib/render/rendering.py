"""The render of one environment, from settings to documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tasks.lib.background import Background
from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure
from tasks.lib.redaction import Redactor, Secret
from tasks.lib.render import documents, kustomize, validation
from tasks.lib.render.pods import at
from tasks.lib.secrets import sensitive
from tasks.lib.settings.model import Environment, Settings
from tasks.lib.workspace import workspace


@dataclass(frozen=True)
class Rendered:
    """The objects of one environment."""

    documents: list[documents.Document]
    warnings: list[str]  # of kustomize
    redactor: Redactor  # knows the values of secret files and of rendered Secrets

    def validate(self, kubernetes: str) -> list[str]:
        """Check every object as `validation.validate` does, and show no secret in a Failure."""
        with self.redactor.failures():
            return validation.validate(self.documents, kubernetes)


def render(
    settings: Settings,
    environment: Environment,
    variables: BuildVariables,
    secrets: Mapping[str, Secret],
) -> Rendered:
    """Render all objects of `environment`, in kustomize's order, with plaintexts by file name.

    Nothing is written outside a private folder in memory, which is gone when this returns. Raises UsageError
    where a template refers to a variable that is not there; Failure where the tree cannot be built, or holds
    no object; TimedOut where kustomize did not finish within time_limits.render.
    """
    given = declared(settings, environment, variables)
    known = sensitive.public(settings, given.values())
    # kustomize is another process: while it runs, this one loads what validating its output needs.
    loading = Background(partial(validation.preload, settings.kustomize.kubernetes))
    with workspace() as folder, sensitive.failures(secrets, known):
        done = kustomize.build(settings, environment, given, secrets, folder)
        found = documents.split(done.stdout.decode())
    if not found:
        raise Failure(
            f"The tree of {environment.name} holds no object.",
            f"kustomize built {environment.overlay} without an error, and printed nothing.",
            "Look at its kustomization.yaml: `resources:` names what belongs to it.",
        )
    redactor = sensitive.redactor(secrets, known.naming(document.title for document in found))
    rendered = [document.content for document in found if at(document.content, "kind") == "Secret"]
    redactor.learn(sensitive.in_objects(rendered, redactor.public))
    warnings = [redactor.line(line) for line in done.stderr.decode().splitlines() if line.strip()]
    loading.is_done()
    return Rendered(found, warnings, redactor)


def declared(settings: Settings, environment: Environment, variables: BuildVariables) -> dict[str, str]:
    """What templates may refer to: Cloud Build's variables, the image's repository and the environment."""
    return {
        **variables.as_environment(),
        "IMAGE_REPOSITORY": settings.image.repository,
        "ENVIRONMENT": environment.name,
    }
