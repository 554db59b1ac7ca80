"""The container images of a real node, made on this machine: no registry and no Docker is asked."""
