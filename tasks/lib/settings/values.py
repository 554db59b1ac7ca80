"""The types of single values: how each is written, and how it is checked."""

import re
import shlex
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from tasks.lib.settings.structure import Parsed

LONGEST = 366 * 24 * 3600.0
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
Name = Annotated[str, Meta(min_length=1)]


def seconds(duration: object) -> float:
    """The seconds in a duration such as `10s`, `1.5m` or `2h`.

    Raises ValueError where it is not a duration, or it is zero or longer than a year.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", duration) if isinstance(duration, str) else None
    if not match or not float(match[1]):
        raise ValueError("a duration above zero, such as 10s, 15m or 1h")
    found = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
    if found > LONGEST:
        raise ValueError("a duration of at most a year")
    return found


def words(text: object) -> object:
    """Options, if a shell can split them.

    Raises ValueError where a quote is not closed.
    """
    try:
        shlex.split(str(text))
    except ValueError as error:
        raise ValueError("options with every quote closed") from error
    return text


def address(text: object) -> object:
    """The address of a service that receives tokens.

    Raises ValueError where it is neither https nor on this machine.
    """
    url = urlsplit(text) if isinstance(text, str) else None
    here = url and url.scheme == "http" and is_this_machine(url.hostname or "")
    if not url or not url.hostname or not (url.scheme == "https" or here):
        raise ValueError("an address such as https://storage.googleapis.com (http:// for this machine only)")
    return text


def size(text: object) -> int:
    """The bytes in a size such as `64MiB`.

    Raises ValueError where it is not a size.
    """
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)", text) if isinstance(text, str) else None
    if not match:
        raise ValueError("a size such as 512B, 64KiB, 100MiB or 8GiB")
    return int(match[1]) * UNITS[match[2]]


def expression(pattern: object) -> str:
    """The pattern, if it is a regular expression.

    Raises ValueError where it is not.
    """
    if not isinstance(pattern, str):
        raise ValueError("a regular expression")  # noqa: TRY004 - the reader collects ValueErrors
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression: {error}") from error
    return pattern


Options = Annotated[str, Parsed(words)]
Address = Annotated[str, Parsed(address)]
Seconds = Annotated[float, Parsed(seconds)]
Bytes = Annotated[int, Parsed(size)]
# The API takes parts of a session in multiples of 256 KiB only.
Part = Annotated[int, Parsed(size), Meta(gt=0, multiple_of=256 << 10)]
Positive = Annotated[int, Meta(gt=0)]
Expression = Annotated[str, Parsed(expression)]
SitePath = Annotated[
    str, Meta(pattern=r"^(/([^/\s]+/)*)?\Z", description="a path such as /studies/{name}/, or nothing")
]
SiteAddress = Annotated[
    str,
    Meta(pattern=r"^(https?://[^/\s]+/?)?\Z", description="an address such as https://{host}, or nothing"),
]
# An RFC 1123 label, as names of namespaces are.
Label = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z",
        description="a name of lower-case letters, digits and inner dashes, at most 63 characters",
    ),
]
Prefix = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([-a-z0-9]*-)?)?\Z",
        description="a prefix of lower-case letters, digits and dashes such as staging-, or nothing",
    ),
]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+\Z", description='a version such as "1.36", in quotes')]
RelativePath = Annotated[str, Meta(pattern=r"^[^/].*\Z", description="a relative path")]


def is_this_machine(host: str) -> bool:
    """Whether a host name or address means this machine."""
    return host in {"localhost", "::1", "[::1]"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))
