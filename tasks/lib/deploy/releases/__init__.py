"""What was deployed: the history in the cluster, its seals, how releases differ, and drift."""
