"""Resource names: the patterns that Cloud KMS states, and what a name's parts are."""

import re

from sandbox.kms.refusals import invalid

ID = r"([a-zA-Z0-9_-]{1,63})"
LOCATION = rf"projects/([^/]{{1,100}})/locations/{ID}"
KEY_RING = rf"{LOCATION}/keyRings/{ID}"
CRYPTO_KEY = rf"{KEY_RING}/cryptoKeys/{ID}"
VERSION = rf"{CRYPTO_KEY}/cryptoKeyVersions/{ID}"


def location(name: str) -> str:
    """The location that a resource belongs to; empty for what is no resource's name."""
    found = re.match(LOCATION, name)
    return found[2] if found else ""


def check(name: str, *patterns: str) -> None:
    """Refuse a name that has none of the forms `patterns`."""
    if not any(re.fullmatch(pattern, name) for pattern in patterns):
        raise invalid(f"Resource name '{name}' does not match pattern '{patterns[0]}'.")


def check_id(field_name: str, value: str) -> None:
    """Refuse an id that could not stand at the end of a name."""
    if not re.fullmatch(ID, value):
        raise invalid(f"{field_name}: '{value}' does not match pattern '{ID}'.")


def key_of(name: str) -> str:
    """The crypto key that `name`, a key or one of its versions, belongs to."""
    return name.split("/cryptoKeyVersions/", maxsplit=1)[0]
