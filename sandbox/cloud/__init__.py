"""Google's side of the sandbox: accounts and tokens, and the few calls of its APIs that a deploy makes."""
