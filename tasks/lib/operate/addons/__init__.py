"""What the manifests need in a cluster beside themselves: ingress-nginx and cert-manager."""
