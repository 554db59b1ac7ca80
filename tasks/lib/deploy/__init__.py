"""Deploying: observe the cluster, decide what to do in pure functions, act, and watch the result."""
