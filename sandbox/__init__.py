"""Google Cloud on one machine: real servers for what Lookit uses of it."""
