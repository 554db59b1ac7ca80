"""What the sections of the settings are made of: the forms of their values."""

import re
from typing import Annotated

from msgspec import Meta

from tasks.lib.structure import Parsed

Name = Annotated[str, Meta(min_length=1)]


def seconds(duration: object) -> float:
    """The seconds that a duration such as `10s`, `1.5m` or `2h` stands for.

    Raises:
        ValueError: it is no such text, or zero.

    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", duration) if isinstance(duration, str) else None
    if not match or not float(match[1]):
        raise ValueError("a duration above zero, such as 10s, 15m or 1h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


Seconds = Annotated[float, Parsed(seconds)]
# RFC 1123 label, the form of namespaces; with a trailing dash for a prefix.
Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")]
Prefix = Annotated[str, Meta(pattern=r"^([a-z0-9]([-a-z0-9]*-)?)?\Z")]
Version = Annotated[str, Meta(pattern=r"^\d+\.\d+\Z")]
RelativePath = Annotated[str, Meta(pattern=r"^[^/].*\Z")]
