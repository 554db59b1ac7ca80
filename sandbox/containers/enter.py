"""`python -m sandbox.containers.enter FOLDER PROGRAM …`: become a program in the namespaces of a node.

The program ends with the process that stands for it outside.
"""

import os
import sys
from pathlib import Path

from sandbox.containers import place

NAMESPACES = {"net": "net", "mount": "mnt", "pid": "pid"}


def main() -> None:
    """Enter the namespaces; they are opened before it is certain that the process is still the same."""
    node, command = place.read(Path(sys.argv[1])), sys.argv[2:]
    first = node.first_process()
    if not first:
        sys.exit("The node's namespaces are not there.")
    options = []
    for option, name in NAMESPACES.items():
        descriptor = os.open(f"/proc/{first.pid}/ns/{name}", os.O_RDONLY)
        os.set_inheritable(descriptor, True)
        options.append(f"--{option}=/proc/self/fd/{descriptor}")
    if not first.alive:
        sys.exit("The node's namespaces have just ended.")
    argv = ["nsenter", *options, "--", "setpriv", "--pdeathsig=KILL", *command]
    os.execvp("nsenter", argv)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
