"""The Kubernetes API of one GKE cluster: endpoint, client, errors, kinds and permissions."""
