"""The kubeconfig files of a sandbox's cluster, as bytes."""

from pathlib import Path

import yaml

from sandbox.certificates import Pair


def admin(name: str, url: str, authority: Path, client: Pair) -> bytes:
    """The way in for the cluster's own servers and for `sandbox.up`: a client certificate."""
    user = {"client-certificate": str(client.certificate), "client-key": str(client.key)}
    return _kubeconfig(name, {"server": url, "certificate-authority": str(authority)}, user)


def token_review(url: str) -> bytes:
    """Where the API server asks whose a bearer token is."""
    return _kubeconfig("token-review", {"server": url}, {})


def _kubeconfig(name: str, cluster: dict[str, str], user: dict[str, str]) -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()
