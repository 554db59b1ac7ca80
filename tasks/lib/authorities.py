"""The certificate authorities that everybody trusts, as certifi ships them."""

from importlib.util import find_spec
from pathlib import Path


def public() -> str:
    """The path of a PEM file that holds them.

    It is what certifi.where() returns, whose import takes importlib.resources, zipfile and tempfile along.
    """
    found = find_spec("certifi")
    assert found is not None  # noqa: S101 - requirements/ has it
    assert found.origin is not None  # noqa: S101 - it is a package with code of its own
    return str(Path(found.origin).with_name("cacert.pem"))
