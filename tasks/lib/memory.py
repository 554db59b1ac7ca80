"""Keeping this process's memory, which may hold plaintext, from being written to a disk by a crash."""

import resource
import sys

PR_SET_DUMPABLE = 4


def leave_no_core() -> None:
    """See to it that neither this process nor its children leave a core dump.

    The limit is for the children too, who may raise it again.  It does not count where the system pipes cores
    to a program, as systemd's does; being not dumpable does, for this process, and also keeps other processes
    of the same user from attaching to it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        import ctypes  # slow to load, and a list of the tasks needs none of this

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
