"""One deploy as ./inv deploy makes it, in a process of its own; prints its peak memory in MB.

Usage: python -m benchmarks.deploy_once FOLDER SETTINGS STREAM: settings are JSON on top of invoke.yaml's, the
stream is a file of rendered objects.
"""

import json
import resource
import sys
from pathlib import Path

from tasks.lib.cluster.gke import connect
from tasks.lib.deploy.deploy import deploy
from tasks.lib.deploy.plan.plan import Planned
from tasks.lib.deploy.session import Session
from tasks.lib.render.documents import split
from tests.builders import settings_in
from tests.plain_deploy import PlainDeploy


class Recorded(PlainDeploy):
    """A deploy that is kept in the history."""

    def record(self, session: Session, planned: Planned) -> None:
        """Keep the release where something changed."""
        if any(step.writes for step in planned.steps):
            session.keep_release()


def main() -> None:
    """Deploy as `./inv deploy` does, without secrets, render and image."""
    folder, values, stream = sys.argv[1:]
    settings = settings_in(Path(folder), json.loads(values))
    environment = settings.environment("staging")
    connection = connect(settings, environment)
    contents = [dict(document.content) for document in split(Path(stream).read_text())]
    deploy(Recorded(settings, environment, connection, contents), _ignore)
    sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def _ignore(_event: object) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    main()
