"""The real node's own programs: kubelet and kube-proxy of the control plane's version, CoreDNS, pause.

Besides the Cloud SQL Auth Proxy, which has no image here unless the sandbox makes it.
"""

from collections.abc import Mapping
from pathlib import Path

from sandbox import binaries
from sandbox.binaries import Program

KUBERNETES = Path(__file__).resolve().parents[1] / "controlplane"
OTHERS = Path(__file__).with_name("node-programs")
PACKAGES = {"kubelet": "k8s.io/kubernetes/cmd/kubelet", "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy"}
COREDNS = "github.com/coredns/coredns"
PROXY = Path(__file__).with_name("cloud-sql-proxy")
PROXY_PACKAGE = "github.com/GoogleCloudPlatform/cloud-sql-proxy/v2"


def others() -> list[Program]:
    """The programs of sandbox/containers/node-programs; pause is this project's own."""
    version = binaries.version(OTHERS, "coredns", COREDNS)
    own = "sandbox.local/containers"
    return [Program("coredns", f"{own}/coredns", version), Program("pause", f"{own}/pause", "")]


def proxy() -> Program:
    """The Cloud SQL Auth Proxy. Its publisher states no checksums in a form that programs read."""
    return Program("cloud-sql-proxy", PROXY_PACKAGE, "", static=True)


def proxy_image() -> str:
    """What the manifests call its image."""
    version = binaries.version(PROXY, "cloud-sql-proxy", PROXY_PACKAGE)
    return f"gcr.io/cloud-sql-connectors/cloud-sql-proxy:{version.removeprefix('v')}"


def kubernetes_programs() -> list[Program]:
    """Those of the control plane, with kubelet and kube-proxy."""
    return binaries.programs(KUBERNETES, {**binaries.PACKAGES, **PACKAGES})


def released() -> list[Program]:
    """All programs of the sandbox, those of the control plane too, that have official releases."""
    return [one for one in [*kubernetes_programs(), *others()] if one.version]


def obtain(cache: Path) -> Mapping[str, Path]:
    """The path of each program, by name; those missing are installed into `cache` first.

    Those of the control plane are too: Go builds all of Kubernetes at once in less time.

    Raises:
        Failure: one was not found and could not be built; it says what to do.

    """
    kubernetes = binaries.obtain(KUBERNETES, cache, kubernetes_programs())
    own = binaries.obtain(OTHERS, cache, others())
    return {**kubernetes, **own, **binaries.obtain(PROXY, cache, [proxy()])}
