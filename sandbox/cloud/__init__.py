"""Google's side of the sandbox: accounts and tokens, and the API calls that a deploy needs."""
