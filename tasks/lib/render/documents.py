"""The stream of YAML documents that kustomize prints: split, parsed, redacted, named."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.lib.errors import Failure
from tasks.lib.redaction import REDACTED

LONG_NUMBER = re.compile(r"(?<![\w.])[-+]?[0-9]{1000}")
SEPARATOR = re.compile(r"^---\n", re.MULTILINE)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads scalars as Kubernetes does: no dates, no base-60 numbers, and 1e3 is a number.

    Source: the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), with the octal
    notation of YAML 1.1 (0644), which sigs.k8s.io/yaml still reads.
    """


_Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0[0-7]+)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first))


@dataclass(frozen=True)
class Document:
    """One object: the text as kustomize wrote it, and what it says."""

    text: str
    content: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What people call it, such as `Deployment staging-web`."""
        metadata = self.content.get("metadata") or {}
        return f"{self.content.get('kind', 'object without kind')} {metadata.get('name', 'without name')}"

    @property
    def file_name(self) -> str:
        """A name for a file of its own, such as `deployment-staging-web.yaml`."""
        metadata = self.content["metadata"]
        return f"{self.content['kind']}-{metadata['name']}.yaml".lower()


def split(stream: str) -> list[Document]:
    """The documents of a stream, in its order.

    A line of three dashes at the margin always separates: block scalars are indented.

    Raises:
        Failure: one holds a number that is longer than Python reads.

    """
    return [Document(text, _content(text)) for text in SEPARATOR.split(stream) if text.strip()]


def _content(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader's child
    except ValueError as error:
        line = next((line for line in text.splitlines() if LONG_NUMBER.search(line)), "")
        raise Failure(
            "The render holds a whole number of thousands of digits, which no field of Kubernetes takes.",
            f"It begins: {line.strip()[:60]}…" if line else str(error),
            "Mend the manifests: put it in quotes where a text is meant.",
        ) from error


def joined(documents: list[Document]) -> str:
    """The documents as one stream again."""
    return "---\n".join(document.text for document in documents)


def redacted(document: Document) -> Document:
    """The same document with the values of a Secret blanked out and its keys kept."""
    if document.content.get("kind") != "Secret":
        return document
    blank = {
        field: dict.fromkeys(document.content[field] or {}, REDACTED)
        for field in ("data", "stringData")
        if field in document.content
    }
    content = {**document.content, **blank}
    return Document(yaml.safe_dump(content, sort_keys=False), content)
