"""The settings of Ember archives: what one may hold, and the headers its files are served with."""

import re
from typing import Annotated

from msgspec import Meta, Struct

from tasks.lib.settings.structure import Parsed

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def size(text: object) -> int:
    """The bytes that a size such as `64MiB` stands for.

    Raises:
        ValueError: it is no such text.

    """
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)", text) if isinstance(text, str) else None
    if not match:
        raise ValueError("a size such as 512B, 64KiB, 100MiB or 8GiB")
    return int(match[1]) * UNITS[match[2]]


def expression(pattern: object) -> str:
    """The pattern itself, once it is known to be a regular expression.

    Raises:
        ValueError: it is none.

    """
    if not isinstance(pattern, str):
        raise ValueError("a regular expression")  # noqa: TRY004 - the reader collects what values are not
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression: {error}") from error
    return pattern


def site_path(path: object) -> str:
    """A path of the site with a slash at both its ends, or an empty text.

    Raises:
        ValueError: it is neither.

    """
    if not isinstance(path, str) or not re.fullmatch(r"(/([^/\s]+/)*)?", path):
        raise ValueError("a path such as /studies/{name}/, or nothing")
    return path


def site_address(address: object) -> str:
    """The address of a site, or an empty text.

    Raises:
        ValueError: it is neither.

    """
    if not isinstance(address, str) or not re.fullmatch(r"(https?://[^/\s]+/?)?", address):
        raise ValueError("an address such as https://{host}, or nothing")
    return address


SitePath = Annotated[str, Parsed(site_path)]
SiteAddress = Annotated[str, Parsed(site_address)]
Bytes = Annotated[int, Parsed(size)]
# The API takes parts of a session in multiples of 256 KiB only.
Part = Annotated[int, Parsed(size), Meta(gt=0, multiple_of=256 << 10)]
Expression = Annotated[str, Parsed(expression)]
Positive = Annotated[int, Meta(gt=0)]


class Limits(Struct, frozen=True, kw_only=True):
    """What an archive may hold at most; beyond it is taken for a bomb."""

    members: Positive
    member_size: Bytes
    total_size: Bytes
    ratio: Positive


class HeaderRule(Struct, frozen=True, kw_only=True):
    """Headers for the files whose whole path `path` matches; what is None is left to later rules.

    One that is `fingerprinted` is for files whose name carries their content's hash.
    """

    path: Expression
    fingerprinted: bool = False
    content_type: str | None = None
    cache_control: str | None = None
    gzip: bool | None = None


class Cors(Struct, frozen=True, kw_only=True):
    """Who may read the bucket's objects from a page of another origin."""

    origin: list[str]
    method: list[str]
    response_header: list[str]
    max_age_seconds: Annotated[int, Meta(ge=0)]


class Bucket(Struct, frozen=True, kw_only=True):
    """How a bucket that serves Ember apps is configured."""

    cors: list[Cors]
    main_page: str
    not_found_page: str
    abort_uploads_after_days: Positive


class Ember(Struct, frozen=True, kw_only=True):
    """How built Ember apps are uploaded."""

    prefix: str
    served_at: SitePath
    site: SiteAddress
    connections: Annotated[int, Meta(ge=1, le=512)]
    resumable_above: Bytes
    resumable_part: Part
    limits: Limits
    ignored: list[Expression]
    fingerprints: list[Expression]
    headers: list[HeaderRule]
    bucket: Bucket
