"""One deploy at a time: the Lease, who holds it, and how a dead holder is removed."""
