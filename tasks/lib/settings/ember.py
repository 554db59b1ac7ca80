"""The settings of Ember uploads: limits of archives, headers of files, the bucket."""

from typing import Annotated

from msgspec import Meta, Struct

from tasks.lib.settings.values import Bytes, Expression, Part, Positive, SiteAddress, SitePath


class Limits(Struct, frozen=True, kw_only=True):
    """What an archive may hold at most; a larger one is treated as an archive bomb."""

    members: Positive
    member_size: Bytes
    total_size: Bytes
    ratio: Positive


class HeaderRule(Struct, frozen=True, kw_only=True):
    """Headers for the files whose whole path matches `path`; later rules decide what is None here.

    A `fingerprinted` rule is for files with a hash of their content in the name.
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
