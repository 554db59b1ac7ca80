"""The checksums that requests state and answers are checked by.

Google asks for them: https://cloud.google.com/kms/docs/data-integrity-guidelines
"""

from typing import Any


def bound_to(additional: bytes) -> dict[str, Any]:
    """The request's fields for additional data; none where there is none."""
    if not additional:
        return {}
    field = "additional_authenticated_data"
    return {field: additional, f"{field}_crc32c": crc32c(additional)}


def damage_in_encryption(request: dict[str, Any], answer: Any) -> str:
    """What is wrong with an answer to Encrypt; empty if all is well."""
    confirmed = [answer.verified_plaintext_crc32c]
    if "additional_authenticated_data" in request:
        confirmed.append(answer.verified_additional_authenticated_data_crc32c)
    if not all(confirmed):
        return "KMS did not confirm the checksum of what it was sent"
    if answer.ciphertext_crc32c != crc32c(answer.ciphertext):
        return "The ciphertext that came back does not match its checksum"
    if request["name"] not in {answer.name, answer.name.split("/cryptoKeyVersions/", maxsplit=1)[0]}:
        return f"KMS answered for {answer.name} instead of {request['name']}"
    return ""


def damage_in_decryption(answer: Any) -> str:
    """What is wrong with an answer to Decrypt; empty if all is well."""
    if answer.plaintext_crc32c != crc32c(answer.plaintext):
        return "The plaintext that came back does not match its checksum"
    return ""


def crc32c(data: bytes) -> int:
    """CRC-32C, as a number."""
    import google_crc32c

    return int(google_crc32c.value(data))
