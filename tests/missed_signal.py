"""A signal that comes just before the main thread waits: Python notes it, and nothing ends the wait."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def missed(number: int, after: float = 0.1) -> Iterator[None]:
    """Send this process a signal, `after` seconds, that does not end what the main thread waits for inside.

    Another thread receives it, which leaves the main thread in the same state.
    """
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    sending = threading.Timer(after, os.kill, (os.getpid(), number))
    sending.start()
    try:
        yield
    finally:
        sending.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
