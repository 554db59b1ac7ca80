"""What an upload is asked to do, and what it did."""

from msgspec import Struct, field

from tasks.lib.errors import UsageError


class Options(Struct, frozen=True, kw_only=True):
    """How to upload."""

    activate: bool = True
    dry_run: bool = False
    allow_broken: bool = False


class UploadSummary(Struct):
    """What an upload did, or with dry_run would do.

    Args:
        stored: the bytes written, after compression.
        put_back: files beside the page that were not the active revision's, and were written again.
        broken: what would keep a browser from running the app, and was allowed.
    """

    url: str
    files: int = 0
    revision: str = ""
    active: str = ""
    to_send: list[str] = field(default_factory=list)
    to_copy: list[str] = field(default_factory=list)
    to_relabel: list[str] = field(default_factory=list)
    sent: int = 0
    copied: int = 0
    relabelled: int = 0
    unchanged: int = 0
    stored: int = 0
    put_back: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0
    connections: int = 0


def check_alone(manifest: str, archive: str, prefix: str) -> None:
    """A manifest says which archives go where, so nothing else may.

    Raises:
        UsageError: something else does.

    """
    if manifest and (archive or prefix):
        raise UsageError(
            "--manifest stands alone.",
            "It names archives and, by their uuids, where they go.",
            "Leave --archive and --prefix out, or --manifest.",
        )
