"""Watching workloads until they are ready, or will never be, and saying why."""
