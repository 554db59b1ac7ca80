"""Cloud Build's build files, read and run on this machine by the rules of its documentation."""
