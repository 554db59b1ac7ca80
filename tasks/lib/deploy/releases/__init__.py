"""What was deployed: the history in the cluster, comparing, drift, roll back and recovery."""
