"""Checking rendered objects against the API's published schemas, without a cluster."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tasks.lib import signals
from tasks.lib.errors import Failure
from tasks.lib.redaction import REDACTED
from tasks.lib.render import shape
from tasks.lib.render.documents import Document
from tasks.lib.render.pods import located

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator
    from referencing import Registry

# The address under which the schemas refer to the types that they share.
DEFINITIONS = "https://kubernetes.io/api/_definitions.json"


def validate(documents: Sequence[Document], version: str) -> list[str]:
    """Check every document against the strict schema of Kubernetes `version` (such as `1.36`).

    Returns the kinds that have no published schema (custom resources), which were not checked. Raises Failure
    where at least one object is not valid; each is listed with the field.
    """
    problems = []
    unknown = set()
    for document in documents:
        signals.check()
        try:
            problem = _problem(document, version)
        except LookupError:
            unknown.add(f"{document.content['kind']} ({document.content['apiVersion']})")
            continue
        if problem:
            problems.append(f"{document.title}: {problem}")
    if problems:
        raise Failure(
            f"{len(problems)} of {len(documents)} rendered objects are not valid in Kubernetes {version}.",
            "\n".join(problems),
            "Fix the named fields in the manifests; nothing was sent to the cluster.",
        )
    return sorted(unknown)


def preload(version: str) -> None:
    """Load the libraries and the shared types that validating needs, ahead of time."""
    import kubernetes_validate  # noqa: F401 - for the time that importing it takes

    _definitions(version)


def _problem(document: Document, version: str) -> str:
    """What is wrong with one object, or an empty text.  Raises LookupError where no schema is known."""
    if problem := shape.problem(document.content):
        return problem
    content = shape.without_nulls(document.content)
    try:
        validator = _validator(content["kind"], content["apiVersion"], version)
    except LookupError:
        if problem := _of_custom_pods(content, version):
            return problem
        raise
    is_secret = content["kind"] == "Secret"
    return shape.empty_item(content) or _worst(validator.iter_errors(content), is_secret=is_secret)


def _of_custom_pods(content: Mapping[str, Any], version: str) -> str:
    """What is wrong with the pods in a custom resource, which may have more fields than pods have."""
    validator = _validator_of_pods(version)
    for path, spec in located(content).items():
        errors = (error for error in validator.iter_errors(spec) if error.validator == "type")
        if problem := shape.empty_item(spec) or _worst(errors):
            return f"{path}.{problem}"
    return ""


def _worst(errors: "Iterable[ValidationError]", *, is_secret: bool = False) -> str:
    """The error that matters most, after its field; without the value where that is secret."""
    from jsonschema.exceptions import best_match

    worst = best_match(errors)
    if worst is None:
        return ""
    path = ".".join(str(part) for part in worst.absolute_path)
    # jsonschema's messages begin with the value that is wrong.
    message = worst.message.replace(repr(worst.instance), REDACTED) if is_secret else worst.message
    return f"{path or 'top level'}: {message}"


@cache
def _validator(kind: str, api_version: str, version: str) -> "Validator":
    """The validator of one kind.  Raises LookupError where no schema is known."""
    from jsonschema import Draft202012Validator
    from kubernetes_validate import SchemaNotFoundError
    from kubernetes_validate.utils import schema_contents
    from referencing import Resource

    # rbac.authorization.k8s.io/v1 is published as rbac-v1.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    try:
        schema = schema_contents(f"{_folder(version)}/{kind.lower()}-{group}.json", version)
    except (FileNotFoundError, SchemaNotFoundError) as error:
        raise LookupError(f"{kind} {api_version}") from error
    registry = _definitions(version).with_resource("", Resource.from_contents(schema))
    return Draft202012Validator(schema, registry=registry)


@cache
def _validator_of_pods(version: str) -> "Validator":
    """The validator of a pod's specification alone."""
    from jsonschema import Draft202012Validator

    schema = {"$ref": f"{DEFINITIONS}#/$defs/io.k8s.api.core.v1.PodSpec"}
    return Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> "Registry[Any]":
    """The types that all schemas of a version refer to: much JSON, so read once and not once an object."""
    from kubernetes_validate.utils import schema_contents
    from referencing import Registry, Resource

    definitions = Resource.from_contents(schema_contents(f"{_folder(version)}/_definitions.json", version))
    return (definitions @ Registry()).crawl()


@cache
def _folder(version: str) -> str:
    """The newest of kubernetes-validate's schemas that is not newer than `version`, else the oldest."""
    from kubernetes_validate.utils import all_versions, major_minor

    wanted = _as_numbers(version)
    known = sorted(all_versions(), key=lambda found: _as_numbers(major_minor(found)))
    fit = [found for found in known if _as_numbers(major_minor(found)) <= wanted]
    return f"kubernetes-json-schema/v{(fit or known[:1])[-1]}-local-strict"


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
