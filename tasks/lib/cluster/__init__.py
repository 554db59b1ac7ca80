"""Reaching a GKE cluster: where it is, who we are to it, and a thin client for its API."""
