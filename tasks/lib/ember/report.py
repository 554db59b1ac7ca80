"""What people, and scripts, are told about uploads."""

import json as json_
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from tasks.lib import console
from tasks.lib.console import spoken
from tasks.lib.ember.activation import STRAY
from tasks.lib.ember.overview import Overview
from tasks.lib.ember.progress import size
from tasks.lib.ember.revisions import Revision
from tasks.lib.ember.summary import Options, UploadSummary
from tasks.lib.errors import Failure

if TYPE_CHECKING:
    from tasks.lib.ember.site import SiteSummary

# What is added up over all archives of a site.
COUNTED = ("files", "sent", "copied", "relabelled", "unchanged", "stored")


def sentence(summary: UploadSummary) -> str:
    """One line on what an upload did."""
    served = "It is active." if summary.active == summary.revision else "It is not active."
    return f"Revision {summary.revision}: {_counts(summary)}, in {spoken(summary.seconds)}. {served}"


def total(done: "SiteSummary") -> str:
    """One line on what all uploads of a site did together."""
    counted = UploadSummary("")
    for name in COUNTED:
        setattr(counted, name, sum(getattr(one, name) for one in done.done.values()))
    return f"{len(done.done)} of {len(done.done) + len(done.failed)} archives: {_counts(counted)}."


def _counts(summary: UploadSummary) -> str:
    done = f"{summary.sent} sent ({size(summary.stored)}), {summary.unchanged} unchanged"
    if summary.copied:
        done += f", {summary.copied} copied within the bucket"
    if summary.relabelled:
        done += f", {summary.relabelled} with new headers"
    return f"{summary.files} files: {done}"


def preview(summary: UploadSummary) -> Iterator[str]:
    """What an upload would do, a line for each object."""
    yield from (f"send     {name}" for name in summary.to_send)
    yield from (f"copy     {name}" for name in summary.to_copy)
    yield from (f"relabel  {name}" for name in summary.to_relabel)
    yield f"{summary.unchanged} of {summary.files} files are there already."


def _lines(summary: UploadSummary, options: Options) -> Iterator[str]:
    yield from (f"warning: {problem}" for problem in summary.broken)
    yield from (f"{name} {STRAY} It was put back." for name in summary.put_back)
    yield from preview(summary) if options.dry_run else [sentence(summary)]


def as_json(summary: UploadSummary) -> str:
    """The whole summary."""
    return _dumped(structs.asdict(summary))


def one(summary: UploadSummary, options: Options, json: bool) -> None:
    """Tell about one upload: the URL, or all of it as JSON, on stdout."""
    for line in _lines(summary, options):
        console.say(line)
    console.emit(as_json(summary) if json else summary.url)


def site(done: "SiteSummary", rest: Path | None, json: bool, options: Options) -> None:
    """Tell about many uploads.

    Raises:
        Failure: some of them failed; the rest is in the manifest `rest`, where one was written.

    """
    for uuid, summary in done.done.items():
        for line in _lines(summary, options):
            console.say(f"{uuid}: {line}")
    if not options.dry_run:
        console.say(total(done))
    if json:
        console.emit(
            _dumped({"done": {k: structs.asdict(v) for k, v in done.done.items()}, "failed": done.failed})
        )
    else:
        for summary in done.done.values():
            console.emit(summary.url)
    if done.failed:
        why = "\n".join(f"{uuid}: {reason}" for uuid, reason in done.failed.items())
        raise Failure(
            f"{len(done.failed)} of {len(done.failed) + len(done.done)} archives could not be uploaded.",
            why,
            f"Fix these, then run again with --manifest {rest}: it lists only them."
            if rest
            else "Fix these, then run again.",
        )


def revisions(found: Overview, json: bool) -> None:
    """Tell which revisions there are, newest first."""
    listed, page = list(found.listed.revisions.values()), found.page
    if json:
        rows = [
            {
                "name": r.name,
                "created": r.created.isoformat(),
                "files": r.files,
                "size": r.size,
                "active": r.name == page.name,
                "complete": r.name not in found.incomplete,
                # Files beside the page that are not the active revision's.
                "strays": found.strays if r.name == page.name else [],
            }
            for r in listed
        ]
        console.emit(_dumped(rows))
        return
    if listed:
        table = [
            (r.name, f"{r.created:%Y-%m-%d %H:%M} UTC", str(r.files), size(r.size), _state(r, found))
            for r in listed
        ]
        console.table(("revision", "uploaded", "files", "size", ""), table)
    for name in found.strays:
        console.say(f"{name} {STRAY}")
    if found.strays:
        console.say(f"Put back what belongs there: `./inv ember.activate {page.name}`.")
    if page.name and page.name not in {one.name for one in listed}:
        console.say(f"{page.name} is active and has no manifest: upload its archive again.")
    elif not listed:
        console.say("There is no revision: nothing was uploaded to this prefix by this tool.")


def _state(revision: Revision, found: Overview) -> console.Cell:
    if revision.name in found.incomplete:
        return console.Styled("incomplete", "red")
    if revision.name == found.page.name:
        return console.Styled("active", "green")
    return "active before" if revision.name in found.page.history else ""


def _dumped(value: object) -> str:
    return json_.dumps(value, indent=2, ensure_ascii=False)
