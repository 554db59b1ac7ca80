"""`python -m sandbox.kms`: serve until SIGTERM."""

import argparse
import json
import signal
from pathlib import Path
from queue import SimpleQueue

from sandbox.kms import grpc_server, rest_server
from sandbox.kms.service import Service
from tasks.lib.files import write_atomically

PORTS = "ports.json"
SECONDS_TO_FINISH = 1.0


def main() -> None:
    """Serve; print `ready` once calls are answered, after the ports were written to `ports.json`."""
    options = _options()
    service = Service(options.state)
    server, port = grpc_server.serve(
        service, options.port, options.certificate.read_bytes(), options.private_key.read_bytes()
    )
    ports = {"grpc": port, "rest": rest_server.serve(service, options.rest_port)}
    write_atomically(options.state / PORTS, json.dumps(ports).encode())
    ended: SimpleQueue[int] = SimpleQueue()  # a signal handler may put into it at any moment
    signal.signal(signal.SIGTERM, lambda number, _: ended.put(number))
    print("ready", flush=True)  # noqa: T201 - this line is the program's whole output
    ended.get()
    server.stop(SECONDS_TO_FINISH).wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.kms", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for keys, policy, faults and log")
    parser.add_argument("--port", type=int, required=True, help="port for gRPC; 0 for any")
    parser.add_argument("--rest-port", type=int, required=True, help="port for gcloud; 0 for any")
    parser.add_argument("--certificate", type=Path, required=True, help="TLS certificate chain, PEM")
    parser.add_argument("--private-key", type=Path, required=True, help="its private key, PEM")
    return parser.parse_args()


if __name__ == "__main__":
    main()
