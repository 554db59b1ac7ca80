"""What a member may be called: safe as a path, acceptable to Cloud Storage, and like no other member."""

import re
import unicodedata
from collections.abc import Iterable

from tasks.lib.errors import UsageError

# https://cloud.google.com/storage/docs/objects#naming
LONGEST_NAME = 1024
RESERVED = ".well-known/acme-challenge/"
# Where revisions lie below an app's prefix, and what of it an app cannot have itself.
REVISIONS = "revisions/"
KEPT_FOR_REVISIONS = re.compile(rf"{REVISIONS}([0-9a-f]{{12}}(\.json|/.*)|pruning-.*)", re.DOTALL)
DRIVE = re.compile(r"[A-Za-z]:")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# They make a name look like another one: https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
DIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
REFUSED_IN_XML = re.compile("[\ufffe\uffff]")
# What nearly all names are like, and none of the problems of a path.
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


def problem(name: str, prefix: str) -> str:
    """Why a member of this name is refused once `prefix` is before it, or an empty text."""
    whole = f"{prefix}{name}"
    try:
        encoded = whole.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if PLAIN.fullmatch(name) and len(encoded) <= LONGEST_NAME and not whole.startswith(RESERVED):
        return ""
    checks = (
        (not name, "it has no name"),
        (CONTROL.search(name), "its name holds a control character"),
        (DIRECTIONAL.search(name), "its name holds a character that changes the direction of text"),
        (
            REFUSED_IN_XML.search(name),
            "its name holds a character that XML, and so Cloud Storage, cannot carry",
        ),
        (name.startswith("/"), "its path is absolute"),
        (DRIVE.match(name), "its path starts with a drive letter"),
        ("\\" in name, "its path holds a backslash"),
        (".." in name.split("/"), "its path leads out of the archive (..)"),
        ({"", "."} & set(name.split("/")), "its path has an empty part or a ."),
        (whole.startswith(RESERVED), f"Cloud Storage refuses names under {RESERVED}"),
        (len(encoded) > LONGEST_NAME, f"with its prefix its name takes more than {LONGEST_NAME} bytes"),
    )
    return next((reason for found, reason in checks if found), "")


def spelled(name: str) -> str:
    """The name as it may be printed: what would move a cursor or cannot be encoded is escaped.

    What is longer than a name can be is cut.
    """
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in name[:LONGEST_NAME]
    )
    return shown if len(name) <= LONGEST_NAME else f"{shown}…"


def clashes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (earlier, later) of names that are the same, or differ in nothing but case or Unicode form.

    Such names are one file on some systems and two on others: what was tested is not what would be served.
    """
    seen: dict[str, str] = {}
    found = []
    for name in names:
        key = folded(name)
        if key in seen:
            found.append((seen[key], name))
        else:
            seen[key] = name
    return found


def folded(name: str) -> str:
    """What a name is to a system that tells neither case nor Unicode forms apart."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def relative(name: str) -> str:
    """A member's name without what archivers put around it: a leading `./`, a folder's trailing slash."""
    while name.startswith("./"):
        name = name[2:]
    return name.removesuffix("/")


def checked_prefix(prefix: str) -> str:
    """The prefix with one slash at its end.

    Raises:
        UsageError: it is empty, or no clean relative path.

    """
    path = prefix.removesuffix("/")
    wrong = problem(path, "") if path else "it is empty"
    if wrong:
        raise UsageError(
            f"The prefix {spelled(prefix)!r} cannot be used.",
            f"As a path, {wrong}.",
            "Give it as experiments/<uuid>.",
        )
    return f"{path}/"
