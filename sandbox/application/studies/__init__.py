"""Studies, and what builds them."""
