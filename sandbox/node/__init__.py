"""What kwok leaves out of a cluster: configuration, container logs, disks; and cert-manager's part."""
