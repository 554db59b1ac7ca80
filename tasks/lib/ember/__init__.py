"""Built Ember apps: archives read safely, compared with a bucket, and brought there."""
