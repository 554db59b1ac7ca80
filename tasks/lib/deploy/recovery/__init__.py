"""Bringing an earlier release back, on request or after a failed deploy, and keeping why it failed."""
