"""How the results of the secrets' tasks are shown."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.lib import console
from tasks.lib.printable import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.lib.secrets.history import Entry
    from tasks.lib.secrets.reencryption import Outcome
    from tasks.lib.secrets.verifying import Verdict

COLOURS = {"good": "green", "stale": "yellow", "unknown": "magenta", "broken": "red"}


def show_verdicts(verdicts: "Sequence[Verdict]", *, as_json: bool) -> None:
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


def show_outcome(outcome: "Outcome") -> None:
    """Say which files were encrypted anew."""
    for place in outcome.rewritten:
        console.say(f"{place}: encrypted anew and verified")
    for place in outcome.untouched:
        console.say(f"{place}: nothing to do")


def show_strays(paths: "Sequence[Path]") -> None:
    """Name the encrypted files that were passed over: they may need a version that is called needless."""
    for path in paths:
        console.say(f"{path.name} was left as it is: no setting names it.")


def show_rest(commands: Sequence[str]) -> None:
    """Name the key versions that the files of this commit need no more."""
    if commands:
        console.say("No file here needs these versions any more; older commits and branches do:")
        for command in commands:
            console.say(f"  {command}")


def show_log(entries: "Sequence[Entry]", hint: str) -> None:
    """Print the commits on stdout, and where the key's own log is on stderr."""
    for entry in entries:
        console.emit(one_line(f"{entry.date}  {entry.commit}  {entry.author}  {entry.subject}"))
        for change in entry.files:
            console.emit(f"    {change}")
    console.say(hint)
