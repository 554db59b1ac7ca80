"""How the results of the secrets' tasks are shown."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.lib import console
from tasks.lib.printable import one_line
from tasks.lib.secrets.files import SecretFile
from tasks.lib.secrets.log import Entry
from tasks.lib.secrets.verify import Verdict

COLOURS = {"good": "green", "stale": "yellow", "unknown": "magenta", "broken": "red"}


def show_verdicts(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    """Print what was found about each file: JSON on stdout, or a table on stderr."""
    if as_json:
        listed = [verdict.as_json() for verdict in verdicts]
        console.emit(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows: list[list[console.Cell]] = [
        [
            verdict.environment,
            verdict.file,
            console.Styled(verdict.state.value, COLOURS[verdict.state.value]),
            verdict.form,
            verdict.version,
            [*verdict.problems, *verdict.remarks],
        ]
        for verdict in verdicts
    ]
    console.table(("environment", "file", "state", "form", "key version", "remarks"), rows)


def show_rewritten(done: Mapping[SecretFile, bool]) -> None:
    """Say which files were re-encrypted."""
    for file, is_rewritten in sorted(done.items(), key=lambda item: not item[1]):
        console.say(f"{file.bound_to}: {'re-encrypted and verified' if is_rewritten else 'nothing to do'}")


def show_skipped(strays: Sequence[Path], disposable: Sequence[str]) -> None:
    """Name the encrypted files that were not in the settings, and the commands for versions not needed.

    A skipped file may need such a version.
    """
    for path in strays:
        console.say(f"{path.name} was skipped: it is not in the settings.")
    if disposable:
        console.say("No file here needs these versions any more; older commits and branches do:")
        for command in disposable:
            console.say(f"  {command}")


def show_log(entries: Sequence[Entry], hint: str) -> None:
    """Print the commits on stdout, and where the key's own log is on stderr."""
    for entry in entries:
        console.emit(one_line(f"{entry.date}  {entry.commit}  {entry.author}  {entry.subject}"))
        for change in entry.files:
            console.emit(f"    {change}")
    console.say(hint)
