"""A backup of the Cloud SQL instance before a migration."""
