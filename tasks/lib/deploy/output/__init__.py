"""How a deploy, a plan and the releases are shown to people."""
