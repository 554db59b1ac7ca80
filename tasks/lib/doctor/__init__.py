"""Is everything installed, reachable and permitted?  Each problem comes with the command that fixes it."""
