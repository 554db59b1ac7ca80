"""A whole site's worth of apps: many archives, one summary, and a list of what is left to do."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from tasks.lib.console import say
from tasks.lib.ember.access import Access
from tasks.lib.ember.http import Pool
from tasks.lib.ember.names import checked_prefix
from tasks.lib.ember.place import Place
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.upload import bring
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.settings.ember import Ember
from tasks.lib.signals import uninterrupted


class SiteSummary(Struct):
    """What was done for each uuid, and why not."""

    done: dict[str, UploadSummary] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def read_manifest(path: Path) -> dict[str, str]:
    """The archives of a manifest, by uuid; relative paths start from the manifest's folder.

    Raises:
        UsageError: it is no mapping of texts, or names a uuid twice.

    """
    import yaml

    try:
        # Nodes are texts as they were written: 0123 stays that, and what is there twice shows.
        node: Any = yaml.compose(path.read_text(), yaml.SafeLoader)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"The manifest {path} cannot be read.", str(error)) from error
    if not isinstance(node, yaml.MappingNode) or not all(_is_line(*pair) for pair in node.value):
        raise UsageError(
            f"The manifest {path} is no list of archives.", "", "Write `<uuid>: <archive>` on each line."
        )
    uuids = Counter(key.value for key, _ in node.value)
    if twice := [uuid for uuid, times in uuids.items() if times > 1]:
        raise UsageError(
            f"The manifest {path} names a uuid more than once.",
            f"More than once: {', '.join(twice)}.",
            "Leave one line for each.",
        )
    return {key.value: str(path.parent / value.value) for key, value in node.value}


def _is_line(key: Any, value: Any) -> bool:
    """Whether a pair of nodes is a uuid, which is one part of a path, and a text; neither of them empty."""
    texts = key.id == "scalar" and value.tag == "tag:yaml.org,2002:str"
    return texts and bool(key.value and value.value) and "/" not in key.value


def upload_manifest(
    access: Access, ember: Ember, manifest: Path, archives: Mapping[str, str], options: Options
) -> tuple[SiteSummary, Path | None]:
    """Upload every archive of a manifest, and note beside it what is left to do.

    Returns:
        What was done, and the manifest of the rest where one was written: a dry run writes none.

    Raises:
        BaseException: what ended it, such as Ctrl-C, a limit or a full disk; the rest is noted then too.

    """
    summary = SiteSummary()
    try:
        upload_all(access, ember, archives, options, summary)
    except BaseException:
        with uninterrupted():
            rest = None if options.dry_run else note_rest(manifest, archives, summary)
            listed = f" {rest} lists the others." if rest else ""
            say(f"{len(summary.done)} of {len(archives)} archives were done.{listed}")
        raise
    return summary, None if options.dry_run else note_rest(manifest, archives, summary)


def upload_all(
    access: Access, ember: Ember, archives: Mapping[str, str], options: Options, summary: SiteSummary
) -> None:
    """Upload every archive below ember.prefix, one after the other; what fails does not stop the others.

    `summary` is told of each archive as it ends.
    """
    with closing(Pool(access, ember.connections)) as pool, Progress() as progress:
        for uuid, source in archives.items():
            prefix = "/".join(filter(None, (ember.prefix.removesuffix("/"), uuid)))
            try:
                place = Place(access, pool, checked_prefix(prefix), ember)
                summary.done[uuid] = bring(place, source, options, progress)
            except Failure as failure:
                summary.failed[uuid] = str(failure)


def note_rest(manifest: Path, archives: Mapping[str, str], summary: SiteSummary) -> Path | None:
    """Write what was not done as a manifest beside `manifest`; None, and no such file, when all was.

    Of a manifest that is such a rest itself, what is left takes its place.
    None too where it cannot be written, which is said: what was done has to be told all the same.
    """
    import yaml

    rest = manifest.with_name(f"{manifest.stem.removesuffix('.rest')}.rest.yaml")
    try:
        # Absolute, but as they were named: what a link leads to may be another build by then.
        left = {
            uuid: str(Path(path).absolute()) for uuid, path in archives.items() if uuid not in summary.done
        }
        if not left:
            rest.unlink(missing_ok=True)
            return None
        write_atomically(rest, yaml.safe_dump(left).encode(), 0o644)
    except OSError as error:
        say(f"{rest}, which lists what is left to do, could not be written: {error}")
        return None
    return rest
