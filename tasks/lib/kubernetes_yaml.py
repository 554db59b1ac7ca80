"""YAML as Kubernetes reads it: with the rules of sigs.k8s.io/yaml, which follow no version of YAML.

That library parses with go-yaml v2 and converts to JSON.  So `yes` is a boolean and `1_000` a number, but a
number too large for Go, such as the short commit `61e9540`, is text; `1e3` is the integer 1000, and each key
is text.  The rules: https://github.com/yaml/go-yaml/blob/v2/resolve.go.  A test compares the results with
kubectl's.  Explicit tags, and keys that are numbers with a point, are refused: no manifest needs them.
"""

import math
import re
from decimal import Decimal
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
TEXT = f"{TAG}str"
# The tag of an unquoted scalar that may be something other than text.
PLAIN = "!plain"
FIRST = "-+.0123456789yYnNtTfFoO~"

WORDS: dict[str, object] = {
    spelling: value
    for words, value in (("y yes true on", True), ("n no false off", False), ("null", None))
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
} | {
    "": None, "~": None, ".nan": math.nan, ".NaN": math.nan, ".NAN": math.nan,
    **{sign + word: float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}  # fmt: skip

WHOLE = (
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
    (re.compile(r"[-+]?0(?:[oO]?[0-7]+)?"), 8),
    (re.compile(r"[-+]?[1-9][0-9]{,19}"), 10),
)
SIGN_INSIDE = re.compile(r"0b([-+])")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# What YAML 1.1 takes for a line break besides \n: written as it is, it would be folded.
LINE_BREAKS = re.compile("[\r\x85\u2028\u2029]")
POINT_FIRST = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?")


def load(text: str) -> Any:
    """The content of one document with JSON's types; a YAMLError for values that JSON does not have."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader's child


def dump(content: Any) -> str:
    """`content` as a document that `load` reads back unchanged."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def scalar(text: str) -> object:
    """The value of an unquoted scalar in go-yaml."""
    if text in WORDS:
        return WORDS[text]
    if text.startswith("."):
        return _float(text.replace("_", "")) if POINT_FIRST.fullmatch(text) else text
    if text[0] not in FIRST or text[0].isalpha():
        return text
    digits = text.replace("_", "")
    for number in (_whole(digits), _float(digits)):
        if number is not None:
            return number
    return text


def _whole(digits: str) -> int | None:
    """The integer, if it fits in 64 bits."""
    digits = SIGN_INSIDE.sub(r"\g<1>0b", digits, count=1) if digits.startswith("0b") else digits
    for pattern, base in WHOLE:
        if pattern.fullmatch(digits):
            number = int(digits, base)
            most = 2**63 if digits[0] in "-+" else 2**64
            return number if -(2**63) <= number < most else None
    return None


def _float(digits: str) -> float | None:
    number = float(digits) if FLOAT.fullmatch(digits) else math.inf
    return None if math.isinf(number) else number


def as_json(number: float) -> float:
    """The number as Go writes it in JSON: an integer if it is one and fits in 64 bits."""
    shortest = int(Decimal(repr(number))) if number == int(number) else None
    if shortest is not None and -(2**63) <= shortest < 2**63:
        return shortest
    return float(number)


def as_key(value: object) -> str | None:
    """A key as text; None for what cannot be a key."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value < 2**63 else None
    return value if isinstance(value, str) else None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML with JSON's types."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        """Make a dict of `node` with keys as text."""
        self.flatten_mapping(node)
        return {self._key(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def scalar(self, node: yaml.ScalarNode) -> object:
        """A scalar as JSON has it."""
        value = self._value(node)
        if not isinstance(value, float | int) or isinstance(value, bool):
            return value
        if not math.isfinite(value):
            raise _refusal(node, f"{node.value} is not a number that JSON can hold")
        return as_json(value)

    def tagged(self, node: yaml.Node) -> Any:
        """Refuse a node with an explicit tag."""
        tag = node.tag.replace(TAG, "!!")
        raise _refusal(node, f"the tag {tag} is not supported: write the value without it")

    def _key(self, node: yaml.Node) -> str:
        key = as_key(self._value(node)) if isinstance(node, yaml.ScalarNode) else None
        if key is None:
            raise _refusal(node, f"{node.value} cannot be a key in JSON: put it in quotes")
        return key

    def _value(self, node: yaml.ScalarNode) -> object:
        """A scalar as go-yaml reads it; one in quotes is text."""
        if node.tag not in {PLAIN, TEXT}:
            return self.tagged(node)
        return scalar(node.value) if node.tag == PLAIN else node.value


def _refusal(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(PLAIN, re.compile(r""), [*FIRST, ""])
_Loader.add_implicit_resolver(f"{TAG}merge", re.compile(r"<<$"), ["<"])
_Loader.yaml_constructors = {
    f"{TAG}map": yaml.SafeLoader.construct_yaml_map,
    f"{TAG}seq": yaml.SafeLoader.construct_yaml_seq,
    PLAIN: _Loader.scalar,
    TEXT: _Loader.scalar,
    None: _Loader.tagged,
}


class _Dumper(yaml.SafeDumper):
    """Quotes text that Kubernetes would read as something else."""

    def text(self, value: str) -> yaml.ScalarNode:
        """A scalar that is read back as text."""
        style = None if "\n" in value or scalar(value) == value else "'"
        if LINE_BREAKS.search(value):
            style = '"'  # escapes them
        return self.represent_scalar(TEXT, value, style=style)


_Dumper.add_representer(str, _Dumper.text)
