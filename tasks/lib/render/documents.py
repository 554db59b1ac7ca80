"""The stream of YAML documents that kustomize prints: split, read, redacted, named."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.lib import kubernetes_yaml
from tasks.lib.errors import Failure
from tasks.lib.redaction import REDACTED
from tasks.lib.render.pods import at

SEPARATOR = re.compile(r"^---\n", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """One object: the text as kustomize wrote it, and what it says."""

    text: str
    content: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What people call it, such as `Deployment staging-web`."""
        kind, name = at(self.content, "kind"), at(self.content, "metadata.name")
        return f"{kind or 'object without kind'} {name or 'without name'}"

    @property
    def file_name(self) -> str:
        """A name for a file of its own, such as `deployment-staging-web.yaml`."""
        metadata = self.content["metadata"]
        return f"{self.content['kind']}-{metadata['name']}.yaml".lower()


def split(stream: str) -> list[Document]:
    """The documents of a stream, in its order.

    A line of three dashes at the margin always separates: block scalars are indented. Raises Failure where
    one is not YAML, or holds what JSON cannot hold.
    """
    return [Document(text, _content(text)) for text in SEPARATOR.split(stream) if text.strip()]


def _content(text: str) -> Any:
    try:
        return kubernetes_yaml.load(text)
    except yaml.MarkedYAMLError as error:
        lines, mark = text.split("\n"), error.problem_mark
        line = lines[mark.line] if mark and mark.line < len(lines) else ""
        raise Failure(
            "The render holds a document that Kubernetes cannot read.",
            f"{error.problem}, at `{line.partition(':')[0].strip() or 'its end'}`.",
            "Look for it in the manifests; put it in quotes where a text is meant.",
        ) from error


def joined(documents: list[Document]) -> str:
    """The documents as one stream again."""
    return "---\n".join(document.text for document in documents)


def redacted(document: Document) -> Document:
    """The same document with the values of a Secret blanked out and its keys kept."""
    if document.content.get("kind") != "Secret":
        return document
    held = {field: document.content[field] for field in ("data", "stringData") if field in document.content}
    blank = {
        field: dict.fromkeys(value, REDACTED) if isinstance(value, Mapping) else value and REDACTED
        for field, value in held.items()
    }
    content = {**document.content, **blank}
    return Document(kubernetes_yaml.dump(content), content)
