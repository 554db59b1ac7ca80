"""Cloud KMS over gRPC: one client for Google and for the sandbox, and what its answers mean."""
