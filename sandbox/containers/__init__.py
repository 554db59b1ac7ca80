"""A real node beside the simulated ones: containerd, kubelet, kube-proxy and CoreDNS in namespaces."""
