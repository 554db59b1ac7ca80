from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.cluster.scripted import Scripted, scripted


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Scripted]:
    with scripted(tmp_path) as served:
        yield served
