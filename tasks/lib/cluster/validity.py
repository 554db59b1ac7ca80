"""What the API server takes as names, labels, annotations and data, for who must know before it is asked.

Source: k8s.io/apimachinery/pkg/util/validation and k8s.io/kubernetes/pkg/apis/core/validation.  Where a rule
of the server is involved, this one is narrower: what is taken here is taken there, not the other way round.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

# Bytes of an object as JSON: the server takes as much in the values of a ConfigMap or Secret alone.
MOST_IN_ALL: Final = 1024 * 1024
MOST_ANNOTATIONS: Final = 256 * 1024  # bytes of all keys and values
LONGEST_NAME: Final = 253
LONGEST_LABEL: Final = 63
DNS_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
SUBDOMAIN: Final = re.compile(rf"{DNS_LABEL}(?:\.{DNS_LABEL})*")
LABEL: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")


def is_name(text: object) -> bool:
    """Whether an object may be called so: a DNS subdomain."""
    return isinstance(text, str) and len(text) <= LONGEST_NAME and bool(SUBDOMAIN.fullmatch(text))


def are_labels(labels: Mapping[str, str]) -> bool:
    """Whether these may be an object's labels."""
    return all(_is_key(key) and (not value or _is_label(value)) for key, value in labels.items())


def are_annotations(annotations: Mapping[str, str]) -> bool:
    """Whether these may be an object's annotations."""
    size = sum(len(key) + len(value.encode()) for key, value in annotations.items())
    return all(map(_is_key, annotations)) and size <= MOST_ANNOTATIONS


def is_data_key(text: str) -> bool:
    """Whether a value of a ConfigMap or Secret may go by this name."""
    return len(text) <= LONGEST_NAME and bool(DATA_KEY.fullmatch(text)) and text != "." and text[:2] != ".."


def are_texts(value: object) -> bool:
    """Whether it is a mapping from text to text that can be sent: half a character cannot."""
    return isinstance(value, Mapping) and all(_is_text(part) for pair in value.items() for part in pair)


def is_small(thing: object) -> bool:
    """Whether the server would not find it too large; JSON is never shorter than what it stands for."""
    return len(json.dumps(thing)) <= MOST_IN_ALL


def is_base64(text: str) -> bool:
    """Whether it is base64 exactly as the server writes it."""
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except (binascii.Error, ValueError):
        return False


def _is_key(text: str) -> bool:
    """A qualified name: perhaps a DNS subdomain and a slash, then a label."""
    prefix, slash, name = text.rpartition("/")
    return _is_label(name) and (not slash or is_name(prefix))


def _is_label(text: str) -> bool:
    return len(text) <= LONGEST_LABEL and bool(LABEL.fullmatch(text))


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
