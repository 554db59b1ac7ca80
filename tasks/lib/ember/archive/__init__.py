"""What a person named, read safely: an archive of any kind, or a folder, and what is wrong with it."""
