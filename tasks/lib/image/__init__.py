"""The application's image: built, tested and pushed with Docker, looked up through the registry."""
