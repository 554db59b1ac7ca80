"""What the sections of the settings are made of: the forms of their values."""

import re
import shlex
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from tasks.lib.settings.structure import Parsed

LONGEST = 366 * 24 * 3600.0
Name = Annotated[str, Meta(min_length=1)]


def seconds(duration: object) -> float:
    """The seconds that a duration such as `10s`, `1.5m` or `2h` stands for.

    Raises:
        ValueError: it is no such text, zero, or longer than any program can wait.

    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", duration) if isinstance(duration, str) else None
    if not match or not float(match[1]):
        raise ValueError("a duration above zero, such as 10s, 15m or 1h")
    found = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
    if found > LONGEST:
        raise ValueError("a duration of at most a year")
    return found


def words(text: object) -> object:
    """Options as a shell reads them.

    Raises:
        ValueError: a quote in them is not closed.

    """
    try:
        shlex.split(str(text))
    except ValueError as error:
        raise ValueError("options with every quote closed") from error
    return text


def address(text: object) -> object:
    """The address of a service that tokens are sent to.

    Raises:
        ValueError: it is not an https address, nor an http one of this machine.

    """
    url = urlsplit(text) if isinstance(text, str) else None
    here = url and url.scheme == "http" and is_this_machine(url.hostname or "")
    if not url or not url.hostname or not (url.scheme == "https" or here):
        raise ValueError("an address such as https://storage.googleapis.com (http:// for this machine only)")
    return text


Options = Annotated[str, Parsed(words)]
Address = Annotated[str, Parsed(address)]
Seconds = Annotated[float, Parsed(seconds)]
# RFC 1123 label, the form of namespaces; with a trailing dash for a prefix.
Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")]
Prefix = Annotated[str, Meta(pattern=r"^([a-z0-9]([-a-z0-9]*-)?)?\Z")]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+\Z")]
RelativePath = Annotated[str, Meta(pattern=r"^[^/].*\Z")]


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    return host in {"localhost", "::1", "[::1]"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))
