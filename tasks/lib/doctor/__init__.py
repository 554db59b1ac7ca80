"""Is everything installed, reachable and permitted?  Each fault comes with the command that mends it."""
