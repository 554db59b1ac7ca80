"""A canary in a secret of a whole deploy: after every task that touches the cluster, after every failure, it is
found nowhere but in the Secret.

A new task that handles secrets is one more step; tests/test_leaks.py has the tasks that need no cluster and the
guard that none is forgotten.
"""

import json
from pathlib import Path

import pytest

from tasks.lib.cluster.api import Api as _Api  # noqa: F401 - the history's types need it loaded first
from tasks.lib.deploy.history import LABEL, Past
from tasks.lib.redaction import Secret
from tests.builders import ROOT
from tests.canary import Canary, watched_processes, workspaces
from tests.e2e.corner import OwnKey
from tests.leak_steps import STEPS, Step
from tests.sandbox_case import Case

pytestmark = pytest.mark.e2e
# Put together here, because `secrets.check` looks for the value in every committed file, this one too.
CANARY = Canary("-".join(("canary", "e2e", "Zq8", "never", "to", "be", "seen")))
'''placeholder'''
