"""A process that belongs to a sandbox, as its servers do."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.processes import MARK


@contextmanager
def marked(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One that waits until the block ends, with the mark of the sandbox in `folder`.

    It says that it runs: for a moment after its start, the kernel does not show what it was started with.
    """
    argv, env = ["sh", "-c", "echo; read line"], {**os.environ, MARK: str(folder)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as child:
        assert child.stdout
        assert child.stdout.readline()
        yield child
        child.kill()
