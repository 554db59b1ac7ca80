"""One deploy as ./inv deploy makes it, in a process of its own; prints its peak memory in MB.

Usage: python -m benchmarks.deploy_once FOLDER SETTINGS STREAM: settings are JSON on top of invoke.yaml's, the
stream is a file of rendered objects.
"""

import json
import resource
import sys
import time
from pathlib import Path

from tasks.lib.cluster.connection import connect
from tasks.lib.deploy.apply.in_phases import PhasedApply
from tasks.lib.deploy.events import Record
from tasks.lib.deploy.lock import lease
from tasks.lib.deploy.lock.holder import claim_of
from tasks.lib.deploy.objects import wanted
from tasks.lib.deploy.plan.plan import Choices, make
from tasks.lib.deploy.releases import history
from tasks.lib.render.documents import split
from tests.builders import settings_in


def main() -> None:
    """Deploy as `./inv deploy` does, without secrets, render and image."""
    folder, values, stream = sys.argv[1:]
    settings = settings_in(Path(folder), json.loads(values))
    environment = settings.environment("staging")
    connection = connect(settings, environment)
    contents = [document.content for document in split(Path(stream).read_text())]
    claim = claim_of({"commit": "a" * 40})
    one = lease.Lock(connection.api, environment, claim)
    with lease.held(one, wait=60, tell=_ignore):
        objects = wanted(contents, connection.kinds, environment.namespace)
        planned = make(settings, environment, connection, objects, Choices())
        record, began = Record("staging"), time.monotonic()
        PhasedApply(settings, environment, connection, record, _ignore, one.require).run(planned)
        if any(step.writes for step in planned.steps):
            kept = [step.wanted for step in planned.steps]
            facts = history.facts(claim.notes, record, kept, record.outcome, time.monotonic() - began)
            history.keep(connection.api, environment.namespace, facts, kept, _ignore, lambda past: past)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def _ignore(_event: object) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    main()
