"""What maintainers do between deploys."""
