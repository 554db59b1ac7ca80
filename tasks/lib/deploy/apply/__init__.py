"""Writing and removing objects."""
