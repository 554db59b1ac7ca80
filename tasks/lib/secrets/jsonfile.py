"""JSON secret files, such as service accounts' keys: their keys, and what is doubtful about one.

A file is carried byte for byte, whatever is found.  Findings name lines and keys, never a value.
"""

import json
import re
from collections.abc import Iterator, Sequence

from tasks.lib.secrets.dotenv import BOM, Finding, Pair, Parsed, Severity, in_order, line_ends, repeated

# A string, or what gives the text its structure; only for text that is JSON.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]')


EMPTY = b'""'


class _Pairs(list[tuple[str, object]]):
    """An object's members in their order, repeated ones too."""


def parse(content: bytes) -> Parsed:
    """Read a JSON file that holds one object: its members, the values as JSON has them."""
    try:
        text = content.removeprefix(BOM).decode()
        held = json.loads(text, object_pairs_hook=_Pairs)
        values = _values(json.loads(text))
    except UnicodeDecodeError:
        return _refused(0, "not UTF-8, so not JSON")
    except json.JSONDecodeError as error:
        return _refused(error.lineno, _syntax(text, error))
    except ValueError:  # Python's own limit; JSON has none
        return _refused(0, "a number of more than 4,300 digits")
    except RecursionError:
        return _refused(0, "not JSON: it is nested too deeply")
    if not isinstance(held, _Pairs):
        return _refused(0, "JSON, but not an object")
    pairs = [Pair(key, values[key], line) for (key, _), line in zip(held, _key_lines(text), strict=True)]
    return in_order(pairs, _doubtful(content, pairs))


def _refused(line: int, why: str) -> Parsed:
    return Parsed(findings=[Finding(line, why, Severity.ERROR)])


def _values(held: object) -> dict[str, bytes]:
    """An object's values as the file has them; half of a surrogate pair, which JSON allows, is kept."""
    return {
        key: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
        for key, value in (held.items() if isinstance(held, dict) else ())
    }


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    """What was expected; the text around it stays out."""
    is_nul = text[error.pos : error.pos + 1] == "\0"
    return f"not JSON: {'a NUL byte' if is_nul else error.msg.removesuffix(' at')} at column {error.colno}"


def _key_lines(text: str) -> Iterator[int]:
    """The line of each key of the outermost object."""
    depth, before = 0, None
    for token in TOKEN.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if token[0] == ":" and depth == 1 and before:
            yield text.count("\n", 0, before.start()) + 1
        before = token


def _doubtful(content: bytes, pairs: Sequence[Pair]) -> Iterator[Finding]:
    yield from line_ends(content, "they are kept")
    if content.startswith(BOM):
        mark = "begins with a byte order mark, which is kept and which few readers accept"
        yield Finding(1, mark, Severity.WARNING)
    first: dict[str, Pair] = {}
    for pair in pairs:
        if first.setdefault(pair.key, pair) is not pair:
            yield repeated(pair.shown, pair.line, first[pair.key].line)
        if pair.value == EMPTY:
            yield Finding(pair.line, f"{pair.shown} is empty", Severity.WARNING)
