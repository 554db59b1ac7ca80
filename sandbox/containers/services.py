"""What makes Services of a real node reachable: kube-proxy their addresses, CoreDNS their names."""

from collections.abc import Mapping
from typing import Any

from sandbox.components import Component
from sandbox.containers.equipment import Node
from sandbox.containers.place import API_PORT, NODE, PODS, Place

PROXY_HEALTH_PORT = 10256
DNS_PORT = 53
DNS_HEALTH_PORT = 8053


def proxy_configuration(node: Place) -> dict[str, Any]:
    """kube-proxy by nftables; it leaves limits of connections as they are, which are the whole machine's."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": str(node.file("kube-proxy.kubeconfig"))},
        "conntrack": {"maxPerCore": 0},
        "healthzBindAddress": f"{node.address}:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def corefile(node: Place, outside: Mapping[str, str]) -> str:
    """CoreDNS's configuration: names of the cluster and of `outside`, with their addresses; no others."""
    blocks = [
        "cluster.local:53 in-addr.arpa:53 {\n"
        "  errors\n"
        f"  health {node.address}:{DNS_HEALTH_PORT}\n"
        "  kubernetes cluster.local in-addr.arpa {\n"
        f"    kubeconfig {node.file('dns.kubeconfig')}\n"
        "    pods insecure\n"
        "    ttl 5\n"
        "  }\n"
        "  cache 5\n"
        "}\n"
    ]
    # template comes before kubernetes in CoreDNS's order of plugins, so it must not be in that block.
    for name, address in outside.items():
        answer = f'  template IN A {{\n    answer "{{{{ .Name }}}} 5 IN A {address}"\n  }}\n'
        none = "  template ANY ANY {\n    rcode NOERROR\n  }\n"
        blocks.append(f"{name}:53 {{\n{answer}{none}}}\n")
    blocks.append(".:53 {\n  template ANY ANY {\n    rcode NXDOMAIN\n  }\n}\n")
    return "".join(blocks)


def endpoint(node: Place) -> dict[str, Any]:
    """Where the Service `kubernetes` leads: the API server has no address that pods reach."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [node.address]}],
        "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
    }


def proxy(node: Node) -> Component:
    """The server of the sandbox that is kube-proxy."""
    command = (str(node.equipment.programs["kube-proxy"]), f"--config={node.place.file('kube-proxy.yaml')}")
    health = f"{PROXY_HEALTH_PORT}/healthz"
    return node.server("kube-proxy", command, health, PROXY_HEALTH_PORT, ["node", "apiserver"])


def dns(node: Node) -> Component:
    """The server of the sandbox that is CoreDNS."""
    command = (str(node.equipment.programs["coredns"]), "-conf", str(node.place.file("Corefile")))
    return node.server("dns", command, f"{DNS_HEALTH_PORT}/health", DNS_PORT, ["node", "apiserver"])
