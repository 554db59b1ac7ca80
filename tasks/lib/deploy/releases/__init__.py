"""What was deployed: the history in the cluster, comparing, drift, rollback and recovery."""
