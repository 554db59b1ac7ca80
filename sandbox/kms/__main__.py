"""`python -m sandbox.kms`: serve until SIGTERM."""

import argparse
import signal
from pathlib import Path
from queue import SimpleQueue

from sandbox.kms import grpc_server
from sandbox.kms.service import Service

SECONDS_TO_FINISH = 1.0


def main() -> None:
    """Serve; print the port once calls are answered."""
    options = _options()
    server, port = grpc_server.serve(
        Service(options.state),
        options.port,
        options.certificate.read_bytes(),
        options.private_key.read_bytes(),
    )
    ended: SimpleQueue[int] = SimpleQueue()  # a signal handler may put into it at any moment
    signal.signal(signal.SIGTERM, lambda number, _: ended.put(number))
    print(port, flush=True)  # noqa: T201 - this line is the program's whole output
    ended.get()
    server.stop(SECONDS_TO_FINISH).wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.kms", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for keys, policy, faults and log")
    parser.add_argument("--port", type=int, required=True, help="0 for any")
    parser.add_argument("--certificate", type=Path, required=True, help="TLS certificate chain, PEM")
    parser.add_argument("--private-key", type=Path, required=True, help="its private key, PEM")
    return parser.parse_args()


if __name__ == "__main__":
    main()
