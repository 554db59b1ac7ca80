"""Bash's patterns (globs) as regular expressions, for parameter expansions."""

import re


def translate(pattern: str, *, shortest: bool = False) -> str:
    """The regular expression for a bash pattern; `*` takes as much as it can unless `shortest`."""
    any_text = ".*?" if shortest else ".*"
    result, position = [], 0
    while position < len(pattern):
        character = pattern[position]
        if character == "[" and (bracket := _bracket(pattern, position)):
            result.append(bracket[0])
            position = bracket[1]
            continue
        if character == "\\" and position + 1 < len(pattern):
            position += 1
            character = pattern[position]
            result.append(re.escape(character))
        else:
            result.append({"*": any_text, "?": "."}.get(character, re.escape(character)))
        position += 1
    return "".join(result)


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """A bracket expression that begins at `start`, translated, and where it ends; None where none closes."""
    negated = pattern[start + 1 : start + 2] in {"!", "^"}
    first = start + 1 + negated
    end = pattern.find("]", first + 1)
    while end != -1 and pattern.rfind("[:", first, end) > pattern.rfind(":]", first, end):
        end = pattern.find("]", end + 1)
    if end == -1:
        return None
    inner = pattern[first:end]
    for name, members in CLASSES.items():
        inner = inner.replace(f"[:{name}:]", members)
    inner = inner.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"[{'^' if negated else ''}{inner.replace('^', chr(92) + '^')}]", end + 1


CLASSES = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "space": " \t\r\n\f\v",
    "punct": "!-/:-@_`{-~",
    "xdigit": "0-9A-Fa-f",
}
