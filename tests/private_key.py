"""Private keys for the service accounts of tests."""

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key(account: str) -> str:
    """The key of an account, the same for all tests, as Google writes it into key files.

    Nobody trusts its signatures, so it is short: whoever loads a longer one checks it for 40 ms, each time.
    """
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - see above
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()
