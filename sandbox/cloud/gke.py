"""What a deploy and `status` ask the GKE API, answered from a file for each cluster of the sandbox."""

import base64
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
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
    supported_until: str = ""  # empty: in a year


def register(google: Path, cluster: KnownCluster) -> None:
    """Make the API know `cluster`."""
    path = _path(google, cluster.project, cluster.location, cluster.name)
    write_atomically(path, json.dumps(asdict(cluster), indent=1).encode())


def get(google: Path, project: str, location: str, name: str) -> Answer:
    """Answer the call: 200 with the cluster, or 404."""
    found = _read(google, project, location, name)
    return Answer(200, described(found)) if found else _not_found(project, location, name)


def upgrade_info(google: Path, project: str, location: str, name: str) -> Answer:
    """Answer the call: 200 with when support of the cluster's version ends, or 404."""
    found = _read(google, project, location, name)
    if not found:
        return _not_found(project, location, name)
    until = found.supported_until or (datetime.now(UTC) + timedelta(days=365)).strftime("%Y-%m-%dT00:00:00Z")
    return Answer(200, {"autoUpgradeStatus": ["ACTIVE"], "endOfStandardSupportTimestamp": until})


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


def _read(google: Path, project: str, location: str, name: str) -> KnownCluster | None:
    path = _path(google, project, location, name)
    return KnownCluster(**json.loads(path.read_text())) if path.exists() else None


def _not_found(project: str, location: str, name: str) -> Answer:
    kind = "zones" if _is_zone(location) else "locations"
    return error(404, f"Not found: projects/{project}/{kind}/{location}/clusters/{name}.")


def _path(google: Path, project: str, location: str, name: str) -> Path:
    return google / "clusters" / f"{project}_{location}_{name}.json"


def _is_zone(location: str) -> bool:
    """`us-east1-d` is a zone, `us-east1` a region."""
    return location.count("-") == 2
