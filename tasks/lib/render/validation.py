"""Checking rendered objects against the API's published schemas, without a cluster."""

from collections.abc import Sequence

from tasks.lib.errors import Failure
from tasks.lib.render.documents import Document


def validate(documents: Sequence[Document], version: str) -> list[str]:
    """Check every document against the strict schema of Kubernetes `version` (such as `1.36`).

    Returns:
        The kinds that have no published schema (custom resources), which were not checked.

    Raises:
        Failure: at least one object breaks its schema; each is listed with the field.

    """
    faults = []
    unknown = set()
    for document in documents:
        try:
            fault = _fault(document, version)
        except LookupError:
            unknown.add(f"{document.content['kind']} ({document.content['apiVersion']})")
            continue
        if fault:
            faults.append(f"{document.title}: {fault}")
    if faults:
        raise Failure(
            f"{len(faults)} of {len(documents)} rendered objects break the schema of Kubernetes {version}.",
            "\n".join(faults),
            "Mend the manifests; nothing was sent to the cluster.",
        )
    return sorted(unknown)


def _fault(document: Document, version: str) -> str:
    """What is wrong with one object; empty when nothing is.  Raises LookupError where no schema is known."""
    import kubernetes_validate

    missing = [key for key in ("apiVersion", "kind") if key not in document.content]
    if missing:
        return f"{' and '.join(missing)} missing"
    try:
        kubernetes_validate.validate(dict(document.content), version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise LookupError(str(error)) from error
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        return f"{path or 'top level'}: {error.message}"
    return ""
