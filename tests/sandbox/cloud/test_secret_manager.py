"""The Secret Manager of the sandbox: versions, and what is not there."""

import base64
import os
from pathlib import Path

import pytest

from sandbox.cloud import secret_manager
from tasks.lib.redaction import Secret

NAME = "projects/p/secrets/token"


@pytest.fixture
def google(tmp_path: Path) -> Path:
    secret_manager.register(tmp_path, "p", "token", Secret(b"first"))
    secret_manager.add_version(tmp_path, "p", "token", Secret(b"123456789"))
    return tmp_path


@pytest.mark.parametrize(("version", "number", "value"), [("latest", 2, b"123456789"), ("1", 1, b"first")])
def test_a_version_comes_with_its_number(google: Path, version: str, number: int, value: bytes) -> None:
    found = secret_manager.access(google, "p", "token", version)

    assert (found.status, found.body["name"]) == (200, f"{NAME}/versions/{number}")
    assert base64.b64decode(found.body["payload"]["data"]) == value


def test_the_checksum_is_crc32c_as_a_decimal_text(google: Path) -> None:
    # The check value of CRC-32C: https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-32-iscsi
    assert secret_manager.access(google, "p", "token", "2").body["payload"]["dataCrc32c"] == str(0xE3069283)


@pytest.mark.parametrize(
    ("secret", "version", "message"),
    [
        ("other", "latest", "Secret [projects/p/secrets/other] not found or has no versions."),
        ("token", "3", f"Secret Version [{NAME}/versions/3] not found."),
        ("token", "0", f"Secret Version [{NAME}/versions/0] not found."),
        ("token", "newest", f"Secret Version [{NAME}/versions/newest] not found."),
    ],
)
def test_what_is_not_there_is_named(google: Path, secret: str, version: str, message: str) -> None:
    found = secret_manager.access(google, "p", secret, version)

    assert (found.status, found.body["error"]["message"]) == (404, message)


def test_registering_again_keeps_what_is_there(google: Path) -> None:
    secret_manager.register(google, "p", "token", Secret(os.urandom(8)))

    assert secret_manager.access(google, "p", "token", "latest").body["name"] == f"{NAME}/versions/2"
