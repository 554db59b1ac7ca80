"""The tasks of lookit-orchestrator: a module per verb or noun, thin over tasks.lib."""
