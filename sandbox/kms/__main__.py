"""`python -m sandbox.kms STATE PORT CERTIFICATE KEY`: serve until SIGTERM; port 0 for any, files in PEM."""

import signal
import sys
from pathlib import Path

from sandbox.kms import grpc_server
from sandbox.kms.service import Service

SECONDS_TO_FINISH = 1.0


def main() -> None:
    """Serve; print the port once calls are answered."""
    state, port, certificate, key = sys.argv[1:]
    # Blocked, it is waited for: a handler would be lost on a wait that is about to begin.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server, bound = grpc_server.serve(
        Service(Path(state)), int(port), Path(certificate).read_bytes(), Path(key).read_bytes()
    )
    print(bound, flush=True)  # noqa: T201 - this line is the program's whole output
    signal.sigwait({signal.SIGTERM})
    server.stop(SECONDS_TO_FINISH).wait()


if __name__ == "__main__":
    main()
