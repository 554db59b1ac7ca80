"""The GKE API's `projects.locations.clusters.get`, answered from a file for each cluster of the sandbox."""

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.cloud.answers import Answer, error
from tasks.lib.files import write_atomically

CREATED = "2020-03-11T15:20:00+00:00"


@dataclass(frozen=True)
class KnownCluster:
    """One cluster that the API knows."""

    project: str
    location: str  # a zone or region
    name: str
    endpoint: str  # host and port of its API server
    ca: str  # its authority's certificate, PEM
    version: str  # of its API server, such as 1.36.3


def register(google: Path, cluster: KnownCluster) -> None:
    """Make the API know `cluster`."""
    path = _path(google, cluster.project, cluster.location, cluster.name)
    write_atomically(path, json.dumps(asdict(cluster), indent=1).encode())


def get(google: Path, project: str, location: str, name: str) -> Answer:
    """Answer the call: 200 with the cluster, or 404."""
    path = _path(google, project, location, name)
    if not path.exists():
        kind = "zones" if _is_zone(location) else "locations"
        return error(404, f"Not found: projects/{project}/{kind}/{location}/clusters/{name}.")
    return Answer(200, described(KnownCluster(**json.loads(path.read_text()))))


def described(cluster: KnownCluster) -> dict[str, Any]:
    """The resource `Cluster` with the members that concern reaching it; types as in the REST reference."""
    version = f"{cluster.version}-gke.1000"
    location = f"{'zones' if _is_zone(cluster.location) else 'locations'}/{cluster.location}"
    return {
        "name": cluster.name,
        "endpoint": cluster.endpoint,
        "masterAuth": {"clusterCaCertificate": base64.b64encode(cluster.ca.encode()).decode()},
        "controlPlaneEndpointsConfig": {
            "dnsEndpointConfig": {"allowExternalTraffic": False},
            "ipEndpointsConfig": {
                "enabled": True,
                "enablePublicEndpoint": True,
                "publicEndpoint": cluster.endpoint,
                "authorizedNetworksConfig": {},
            },
        },
        "initialClusterVersion": version,
        "currentMasterVersion": version,
        "currentNodeVersion": version,
        "createTime": CREATED,
        "status": "RUNNING",
        "location": cluster.location,
        "locations": [cluster.location],
        "zone": cluster.location,
        "currentNodeCount": 2,
        "selfLink": f"https://container.googleapis.com/v1/projects/{cluster.project}/{location}/clusters/{cluster.name}",
    }


def _path(google: Path, project: str, location: str, name: str) -> Path:
    return google / "clusters" / f"{project}_{location}_{name}.json"


def _is_zone(location: str) -> bool:
    """`us-east1-d` is a zone, `us-east1` a region."""
    return location.count("-") == 2
