"""Who this process is to Google, and HTTP sessions that say so."""
