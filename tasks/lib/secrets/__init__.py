"""The encrypted files of an environment: opening, sealing, checking and changing them."""
