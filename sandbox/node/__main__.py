"""`python -m sandbox.node --cluster FOLDER --port N --url URL`: run all parts of the node until ended."""

import argparse
import threading
from pathlib import Path

from sandbox.node import cert_manager, configuration, log_server, volumes
from sandbox.node.api import Api


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.node", description=__doc__)
    parser.add_argument(
        "--cluster", type=Path, required=True, help="the cluster's folder, with its certificates"
    )
    parser.add_argument("--port", type=int, required=True, help="where container logs are served")
    parser.add_argument("--url", required=True, help="the API server")
    options = parser.parse_args()
    api = Api(options.url, options.cluster)
    disks = options.cluster / "node" / "disks"
    for serve in (volumes.provide, volumes.reclaim):
        threading.Thread(target=serve, args=(api, disks), daemon=True).start()
    threading.Thread(target=configuration.Starter(api).run, daemon=True).start()
    cert_manager.serve(api)
    log_server.serve(api, options.cluster, options.port)


if __name__ == "__main__":
    main()
