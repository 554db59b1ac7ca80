"""Settings: read once from invoke.yaml, variables and options, checked as a whole, never changed."""
