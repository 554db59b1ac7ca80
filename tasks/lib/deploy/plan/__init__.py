"""What a deploy would change, object by object, before anything changes."""
