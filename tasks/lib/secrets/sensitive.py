"""Which texts of secret files and of Secrets give a value away: one answer for commits, logs and messages.

Of JSON these are the texts within, of a value of several lines also each line; never what is public.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tasks.lib.errors import Failure
from tasks.lib.redaction import Public, Redactor, Secret
from tasks.lib.secrets.expected import WHOLE, values
from tasks.lib.settings.model import Settings

BOUNDARY: Final = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")
# Certificates and public keys are for everybody.
PUBLIC_PEM: Final = re.compile(
    r"\s*(?:-----BEGIN (CERTIFICATE|PUBLIC KEY)-----[A-Za-z0-9+/=\s]*-----END \1-----\s*)+"
)
# A line of a file whose form nobody knows: `password = …`, `"password": "…",`.
SETTING: Final = re.compile(r"""["']?([A-Za-z][-\w.]*)["']?\s*(?:=(?!=)|:\s)\s*["']?(.+?)["']?,?""")
# Where a token of a service account says whose namespace it is of: every message names that.
NAMESPACE: Final = ("kubernetes.io/service-account-token", "namespace")
# A key as long as this, which no message shows, is a line of a value that broke over lines.
PIECE: Final = 32


def public(settings: Settings, names: Iterable[str] = ()) -> Public:
    """What is not secret: the open keys of the settings, and all names in the settings and in `names`."""
    import msgspec

    stated = msgspec.json.encode(settings, enc_hook=str).decode()
    return Public(frozenset(settings.guard.open_keys), stated).naming(names)


def redactor(plaintexts: Mapping[str, Secret], known: Public) -> Redactor:
    """What takes the values of secret files, by their names, out of text."""
    return Redactor(texts(plaintexts, known), known)


@contextmanager
def failures(plaintexts: Mapping[str, Secret], known: Public) -> Iterator[None]:
    """Redact a failure that is raised inside; until one is, nothing is learned."""
    try:
        yield
    except Failure:
        with redactor(plaintexts, known).failures():
            raise


def texts(plaintexts: Mapping[str, Secret], known: Public) -> Iterator[str]:
    """Every text that gives a value of secret files away."""
    return (text for name, plaintext in plaintexts.items() for _, text in in_file(name, plaintext, known))


def in_file(name: str, plaintext: Secret, known: Public) -> Iterator[tuple[str, str]]:
    """Every text that gives a value of one secret file away, after its key as messages may show it."""
    for key, held in values(name, plaintext).items():
        value = held.value.decode(errors="surrogateescape")
        if held.shown != key and (not value or len(key) >= PIECE):
            yield from ((held.shown, text) for text in (key, f"{key}={value}"))
        for text in within("" if key == WHOLE else key, value, known):
            yield held.shown, text


def in_objects(secrets: Iterable[Mapping[str, Any]], known: Public) -> Iterator[str]:
    """Every text that gives a value of Secrets away, as they are rendered or as the cluster has them."""
    for secret in secrets:
        for part, read in (("stringData", str), ("data", _decoded)):
            held = secret.get(part)
            for key, value in held.items() if isinstance(held, Mapping) else ():
                if (secret.get("type"), key) != NAMESPACE:
                    yield from within(str(key), read(value), known)


def within(key: str, value: str, known: Public) -> Iterator[str]:
    """Every text that gives the value of `key` away; an empty key is one that nobody knows."""
    try:
        held = json.loads(value)
    except (ValueError, RecursionError):
        held = value.strip().strip("'\"")
    if not isinstance(held, dict | list):
        yield from _lines(key, held if isinstance(held, str) else value.strip(), known)
        return
    found = [text for name, inner in _leaves(key, held) for text in _lines(name, inner, known)]
    yield from [*found, value.strip()] if found else []


def _lines(key: str, value: str, known: Public) -> Iterator[str]:
    """A value and, where it has several lines, each of them; nothing of what is public."""
    if known.covers(key, value) or PUBLIC_PEM.fullmatch(value):
        return
    yield value
    lines = [line.strip() for line in value.splitlines()]
    for line in lines if len(lines) > 1 else []:
        name, text = match.groups() if (match := SETTING.fullmatch(line)) else ("", line)
        if not known.covers(name, text) and not BOUNDARY.fullmatch(line):
            yield text


def _leaves(key: str, held: object) -> Iterator[tuple[str, str]]:
    """Every text within JSON, however deep, with the innermost key over it."""
    left: list[tuple[str, object]] = [(key, held)]
    while left:
        name, one = left.pop()
        if isinstance(one, dict):
            left += one.items()
        elif isinstance(one, list):
            left += ((name, inner) for inner in one)
        elif isinstance(one, str):
            yield name, one


def _decoded(value: object) -> str:
    """A value of a Secret's `data`; one that is not base64 counts as it is."""
    try:
        return base64.b64decode(str(value)).decode(errors="surrogateescape")
    except ValueError:
        return str(value)
