"""Settings: read once from layers (invoke.yaml, variables, options), validated whole, then never changed."""
