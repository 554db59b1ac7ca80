"""Bash's parameter expansions, which Cloud Build applies to substitutions: `${_NAME//pattern/text}` and such.

Source: https://cloud.google.com/build/docs/configuring-builds/use-bash-and-bindings-in-substitutions, and
bash's manual for what each of them means; a test compares them with bash itself.
"""

import re
from collections.abc import Callable, Mapping

from tasks.lib.pipeline.patterns import translate
from tasks.lib.pipeline.references import Reference, split

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Expand = Callable[[str], str]
# What a backslash before it makes literal: in the word of a default, and in the text of a replacement.
SPECIAL = re.compile(r'\\([$`"\\}])')
ANYTHING = re.compile(r"\\(.)", re.DOTALL)
# The operations that Google's runner does as bash does.  It leaves them to https://github.com/drone/envsubst,
# which takes `+` and `?` for defaults and patterns in replacements literally, and knows neither `-` nor `\}`.
PORTABLE = re.compile(
    r"""
    | :[-=][^\\]*
    | \^\^? | ,,?
    | :\d+(:\d+)?
    | \#\#?[^\[\\]* | %%?[^\[\\]*
    | //?(?![/#%])([^*?\[/\\]|\\[/\\])+/(?!/)([^\\]|\\[/\\])*
    | /[#%]([^*?\[/\\]|\\[/\\])+/(?!/)([^\\]|\\[/\\])+
    """,
    re.VERBOSE | re.DOTALL,
)


class ExpansionError(ValueError):
    """What stands between `${` and `}` is none of bash's expansions, or one that was told to fail."""


def expand(inner: str, values: Mapping[str, str], nested: Expand) -> str:
    """The value of `${inner}`.

    Args:
        inner: what stands between the braces.
        values: the variables; one that is missing counts as unset.
        nested: expands references within words, such as the default in `${_A:-$_B}`.

    Raises:
        ExpansionError: it cannot be understood, or is a `?` whose variable is unset.

    """
    if inner.startswith("#") and NAME.fullmatch(inner[1:]):
        return str(len(values.get(inner[1:], "")))
    match = NAME.match(inner)
    if not match:
        raise ExpansionError(f"${{{inner}}} does not begin with a name")
    name, operation = match[0], inner[match.end() :]
    if not operation:
        return values.get(name, "")
    for apply in (_default, _substring, _removal, _replacement, _case):
        result = apply(name, operation, values, nested)
        if result is not None:
            return result
    raise ExpansionError(f"${{{inner}}} is no parameter expansion of bash")


def is_portable(inner: str) -> bool:
    """Whether Google's own runner makes of `${inner}` what bash does."""
    name = NAME.match(inner)
    return not name or bool(PORTABLE.fullmatch(inner, name.end()))


def _default(name: str, operation: str, values: Mapping[str, str], nested: Expand) -> str | None:
    """`:-word`, `:=word`, `:+word`, `:?word`; without the colon empty counts as set."""
    match = re.match(r"(:?)([-=+?])", operation)
    if not match:
        return None
    value = values.get(name)
    present = bool(value) if match[1] else value is not None
    word = _unquoted(operation[match.end() :], SPECIAL, nested)
    if match[2] == "+":
        return word if present else ""
    if present:
        return value or ""
    if match[2] == "?":
        raise ExpansionError(f"{name}: {word or 'parameter null or not set'}")
    return word


def _substring(name: str, operation: str, values: Mapping[str, str], nested: Expand) -> str | None:
    """`:offset` and `:offset:length`; negative ones count from the end."""
    if not operation.startswith(":"):
        return None
    match = re.fullmatch(r"\s*(-?\d+)\s*(?::\s*(-?\d+)\s*)?", nested(operation[1:]))
    if not match:
        raise ExpansionError(f"${{{name}{operation}}} needs numbers")
    value = values.get(name, "")
    offset = int(match[1])
    start = offset if offset >= 0 else len(value) + offset
    if start < 0 or start > len(value):
        return ""
    if match[2] is None:
        return value[start:]
    length = int(match[2])
    end = start + length if length >= 0 else len(value) + length
    if end < start:
        raise ExpansionError(f"${{{name}{operation}}}: the end lies before the start")
    return value[start:end]


def _removal(name: str, operation: str, values: Mapping[str, str], nested: Expand) -> str | None:
    """`#pattern`, `##pattern` at the start, `%pattern`, `%%pattern` at the end; twice: the longest match."""
    match = re.match(r"##|#|%%|%", operation)
    if not match:
        return None
    value, kind = values.get(name, ""), match[0]
    matches = _compiled(translate(nested(operation[len(kind) :])), operation).fullmatch
    if kind[0] == "#":
        ends = range(len(value) + 1)
        chosen = [end for end in (reversed(ends) if len(kind) == 2 else ends) if matches(value[:end])]
        return value[chosen[0] :] if chosen else value
    starts = range(len(value) + 1)
    chosen = [start for start in (starts if len(kind) == 2 else reversed(starts)) if matches(value[start:])]
    return value[: chosen[0]] if chosen else value


def _replacement(name: str, operation: str, values: Mapping[str, str], nested: Expand) -> str | None:
    """`/pattern/text`: the first match; `//` all, `/#` one at the start, `/%` one at the end."""
    if not operation.startswith("/"):
        return None
    kind = operation[1] if operation[1:2] in {"/", "#", "%"} else ""
    rest = operation[1 + len(kind) :]
    # A slash right after `//` belongs to the pattern.
    pattern, text = _split(rest, 1 if kind == "/" and rest.startswith("/") else 0)
    expression = translate(nested(pattern))
    value, by = values.get(name, ""), _unquoted(text, ANYTHING, nested)
    if not expression and kind not in {"#", "%"}:
        return value
    anchored = {"#": rf"\A(?:{expression})", "%": rf"(?:{expression})\Z"}.get(kind, f"(?:{expression})")
    if kind == "%" and not expression:
        return value + by
    compiled = _compiled(anchored, operation)
    return _replace_all(compiled, value, by) if kind == "/" else compiled.sub(lambda _: by, value, count=1)


def _compiled(expression: str, operation: str) -> re.Pattern[str]:
    """The expression that a pattern became; a range such as `[z-a]` makes none."""
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:
        raise ExpansionError(f"{operation} has a pattern that is none: {error.msg}") from error


def _replace_all(compiled: re.Pattern[str], value: str, by: str) -> str:
    """Replace every match that is not empty: bash, unlike Python, replaces no empty one after it.

    In an empty value it does replace the empty one, as a single match of it.
    """
    if not value:
        return compiled.sub(lambda _: by, value, count=1)
    result, position = [], 0
    for match in compiled.finditer(value):
        if match.end() > match.start():
            result += [value[position : match.start()], by]
            position = match.end()
    return "".join([*result, value[position:]])


def _unquoted(word: str, escaped: re.Pattern[str], nested: Expand) -> str:
    """A word with its references expanded and its own backslashes gone; those within values stay."""
    return "".join(
        nested(f"${{{piece.inner}}}") if isinstance(piece, Reference) else escaped.sub(r"\1", nested(piece))
        for piece in split(word)
    )


def _case(name: str, operation: str, values: Mapping[str, str], nested: Expand) -> str | None:
    """`^` and `,` change the first letter's case, `^^` and `,,` every letter's that fits the pattern."""
    match = re.match(r"\^\^|\^|,,|,", operation)
    if not match:
        return None
    kind, value = match[0], values.get(name, "")
    fits = _compiled(translate(nested(operation[len(kind) :]) or "?"), operation).fullmatch
    change = str.upper if kind[0] == "^" else str.lower
    reach = len(value) if len(kind) == 2 else 1
    return "".join(change(c) if i < reach and fits(c) else c for i, c in enumerate(value))


def _split(text: str, position: int) -> tuple[str, str]:
    """Pattern and replacement, at the first slash from `position` that is neither escaped nor in braces."""
    depth = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text.startswith("${", position):
            depth += 1
        elif text[position] == "}":
            depth -= 1
        elif text[position] == "/" and depth <= 0:
            return text[:position], text[position + 1 :]
        position += 1
    return text, ""
