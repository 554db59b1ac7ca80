"""A list of backups, as a table or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from tasks.lib import console
from tasks.lib.console import spoken
from tasks.lib.deploy.backup.cloud_sql import Run

COLOURS = {"SUCCESSFUL": "green", "FAILED": "red"}


def deliver(runs: Sequence[Run], *, as_json: bool) -> None:
    """Print the backups."""
    if as_json:
        console.emit(json.dumps([{**asdict(run), "enqueued": run.enqueued.isoformat()} for run in runs]))
        return
    now = datetime.now(UTC)
    rows = [
        (
            run.id,
            f"{run.enqueued:%Y-%m-%d %H:%M} UTC",
            spoken((now - run.enqueued).total_seconds()),
            console.Styled(run.status.lower(), COLOURS.get(run.status, "yellow")),
            run.kind.lower().replace("_", " "),
            run.description,
        )
        for run in runs
    ]
    console.table(("Backup", "Begun", "Age", "Status", "Type", "Description"), rows)
