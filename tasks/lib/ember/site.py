"""A whole site's worth of apps: many archives, one summary, and a list of what is left to do."""

import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.lib.console import say
from tasks.lib.ember.access import Access
from tasks.lib.ember.line import Line
from tasks.lib.ember.progress import Progress
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.ember.upload import upload_with
from tasks.lib.ember.wire import Pool
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import write_atomically
from tasks.lib.settings.ember import Ember

# Archives at the same time; they share the connections.
AT_ONCE = 4


@dataclass
class SiteSummary:
    """What was done for each uuid, and why not."""

    done: dict[str, UploadSummary] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


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


def read_manifest(path: Path) -> dict[str, str]:
    """The archives of a manifest, by uuid; relative paths start from the manifest's folder.

    Raises:
        UsageError: it is no mapping of texts, or names a uuid twice.

    """
    import yaml

    try:
        # Nodes are texts as they were written: 0123 stays that, and what is there twice shows.
        node: Any = yaml.compose(path.read_text(), yaml.SafeLoader)
    except (OSError, yaml.YAMLError, UnicodeError) as error:
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


def upload_all(access: Access, ember: Ember, archives: Mapping[str, str], options: Options) -> SiteSummary:
    """Upload every archive below ember.prefix; what fails does not stop the others."""
    summary = SiteSummary()
    workers = min(AT_ONCE, len(archives)) or 1
    own = threading.local()
    pools: list[Pool] = []

    def bring(uuid: str, source: str, progress: Progress) -> None:
        if not hasattr(own, "pool"):
            own.pool = Pool(access, Line(max(1, ember.connections // workers)))
            pools.append(own.pool)
        prefix = f"{ember.prefix}/{uuid}"
        try:
            summary.done[uuid] = upload_with(own.pool, access, ember, source, prefix, options, progress)
        except Failure as failure:
            summary.failed[uuid] = str(failure)

    with Progress() as progress, ThreadPoolExecutor(workers) as executor:
        try:
            waiting = [executor.submit(bring, uuid, source, progress) for uuid, source in archives.items()]
            for one in waiting:
                one.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for pool in pools:
                pool.stop()
            raise
    for pool in pools:
        with closing(pool):
            continue
    return summary


def note_rest(manifest: Path, archives: Mapping[str, str], summary: SiteSummary) -> Path | None:
    """Write what failed as a manifest beside `manifest`; None, and no such file, when nothing did.

    None too where it cannot be written, which is said: what was done has to be told all the same.
    """
    import yaml

    rest = manifest.with_name(f"{manifest.stem}.rest.yaml")
    left = {uuid: str(Path(archives[uuid]).resolve()) for uuid in archives if uuid in summary.failed}
    try:
        if not left:
            rest.unlink(missing_ok=True)
            return None
        write_atomically(rest, yaml.safe_dump(left).encode(), 0o644)
    except OSError as error:
        say(f"{rest}, which lists what is left to do, could not be written: {error}")
        return None
    return rest
