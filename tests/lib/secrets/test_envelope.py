"""The forms of encrypted files, against the sandbox's KMS: what comes back, and what is refused."""

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms, Opened, connected
from tasks.lib.redaction import Secret
from tasks.lib.secrets.envelope import Encrypted, Form, Header, as_it_was, parse, seal, unseal
from tasks.lib.secrets.files import KMS_CIPHERTEXT, SecretFile, one_file
from tests import kms_rest
from tests.kms_process import KEY, KmsProcess, make_key
from tests.secrets_settings import settings_for

BOTH = "both@lookit-sandbox.iam.gserviceaccount.com"
SEALED = b"lookit-secret/1\nkey: K\nbound-to: staging/a.env\n\n\x0a\x24\x00body"
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
LARGE = Secret(b"0123456789abcdef" * 5000)
STAGING = "staging/lookit-secrets.env"
# What is refused before KMS is asked needs none.
NO_KMS = cast("Kms", None)
FILE = SecretFile("lookit-secrets.env", "staging", KEY, Path("c.enc"), Path("p"), "c.enc")


@pytest.fixture
def connection(kms: KmsProcess, tmp_path: Path) -> Iterator[Kms]:
    kms.grant(BOTH, "roles/cloudkms.cryptoKeyEncrypterDecrypter")
    with connected(settings_for(kms, tmp_path, BOTH)) as connection:
        yield connection


@pytest.fixture
def file(kms: KmsProcess, tmp_path: Path) -> SecretFile:
    return place(kms, tmp_path, "staging")


def place(
    kms: KmsProcess, root: Path, environment: str, name: str = "lookit-secrets.env", **more: Any
) -> SecretFile:
    values = settings_for(kms, root, BOTH, **more)
    return one_file(values, values.environment(environment), name)


def test_the_header_is_readable_and_the_rest_is_not(connection: Kms, file: SecretFile) -> None:
    sealed = seal(connection, file, Secret(b"DB_PASSWORD=canary"))
    head, _, body = sealed.partition(b"\n\n")
    assert head.decode() == f"lookit-secret/1\nkey: {KEY}\nbound-to: staging/lookit-secrets.env"
    assert b"canary" not in body


@FEW
@given(plaintext=st.binary(max_size=300))
@pytest.mark.parametrize("form", list(Form))
def test_any_bytes_come_back(connection: Kms, file: SecretFile, form: Form, plaintext: bytes) -> None:
    sealed = seal(connection, file, Secret(plaintext), form)
    assert parse(sealed).form is form
    assert unseal(connection, file, sealed).plaintext.reveal() == plaintext


@pytest.mark.parametrize("size", [65535, 65536, 65537, 3_000_000])
def test_any_size_comes_back(connection: Kms, file: SecretFile, size: int) -> None:
    plaintext = Secret(bytes(range(256)) * (size // 256) + bytes(size % 256))
    sealed = seal(connection, file, plaintext)
    assert bool((parse(sealed).header or Header("", "")).data_key) == (size > 65536)
    assert unseal(connection, file, sealed).plaintext == plaintext


@FEW
@given(data=st.data())
@pytest.mark.parametrize("form", ["raw", "headed", "envelope"])
def test_any_flipped_bit_is_refused(
    connection: Kms, file: SecretFile, form: str, data: st.DataObject
) -> None:
    sealed = bytearray(sealed_as(connection, file, form))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    expect_named_refusal(connection, file, bytes(sealed))


@pytest.mark.parametrize("form", ["raw", "headed", "envelope"])
def test_any_flipped_bit_of_the_beginning_is_refused(connection: Kms, file: SecretFile, form: str) -> None:
    sealed = sealed_as(connection, file, form)
    for position in range(0, 150, 3):
        flipped = bytearray(sealed)
        flipped[position % len(sealed)] ^= 1 << (position % 8)
        expect_named_refusal(connection, file, bytes(flipped))


@FEW
@given(data=st.data())
@pytest.mark.parametrize("form", ["raw", "headed", "envelope"])
def test_any_truncation_is_refused(connection: Kms, file: SecretFile, form: str, data: st.DataObject) -> None:
    sealed = sealed_as(connection, file, form)
    expect_named_refusal(connection, file, sealed[: data.draw(st.integers(1, len(sealed) - 1))])


@pytest.mark.parametrize("extra", [b"\0", b"\n", b"more"])
@pytest.mark.parametrize("form", ["raw", "headed", "envelope"])
def test_anything_added_is_refused(connection: Kms, file: SecretFile, form: str, extra: bytes) -> None:
    expect_named_refusal(connection, file, sealed_as(connection, file, form) + extra)


def sealed_as(connection: Kms, file: SecretFile, form: str) -> bytes:
    if form == "envelope":
        return seal(connection, file, LARGE)
    return seal(connection, file, Secret(b"DB_PASSWORD=canary\n"), Form(form))


def expect_named_refusal(connection: Kms, file: SecretFile, content: bytes) -> None:
    """Every refusal says which of a few things it is; none is just an accident."""
    with pytest.raises(Failure) as refused:
        unseal(connection, file, content)
    assert refused.value.what.startswith((
        "The encrypted file is damaged", "The encrypted file belongs to ", "It was encrypted with another key than ",
        "The encrypted file has a newer form",
    ))  # fmt: skip


def test_a_file_of_another_environment_is_refused_by_name(
    connection: Kms, kms: KmsProcess, tmp_path: Path
) -> None:
    sealed = seal(connection, place(kms, tmp_path, "production"), Secret(b"A=1"))
    with pytest.raises(Failure) as refused:
        unseal(connection, place(kms, tmp_path, "staging"), sealed)
    assert refused.value.what == (
        "The encrypted file belongs to production/lookit-secrets.env, not to staging/lookit-secrets.env."
    )


def test_a_forged_header_does_not_help_a_swapped_file(
    connection: Kms, kms: KmsProcess, tmp_path: Path
) -> None:
    production, staging = place(kms, tmp_path, "production"), place(kms, tmp_path, "staging")
    forged = seal(connection, production, Secret(b"A=1")).replace(b"production/", b"staging/")
    with pytest.raises(Failure, match="The encrypted file is damaged"):
        unseal(connection, staging, forged)


def test_a_file_of_another_key_is_refused_by_name(connection: Kms, kms: KmsProcess, tmp_path: Path) -> None:
    other = make_key(kms, f"other-{abs(hash(str(tmp_path)))}")
    elsewhere = place(kms, tmp_path, "staging", environments={
        "staging": {"secrets": {"files": {"lookit-secrets.env": other}}},
    })  # fmt: skip
    with pytest.raises(Failure) as refused:
        unseal(connection, place(kms, tmp_path, "staging"), seal(connection, elsewhere, Secret(b"A=1")))
    assert refused.value.why == f"The file names {other}, the settings {KEY}."


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (SEALED.replace(b"/1", b"/2"), "The encrypted file has a newer form than this version knows."),
        (SEALED.replace(b"/1", b"/x"), "The encrypted file is damaged."),
        (SEALED.replace(b"key: K\n", b""), "The encrypted file is damaged."),
        (SEALED.replace(b"key: K", b"key:  K "), "The encrypted file belongs to "),
        (SEALED.replace(b"\n\n", b"\nmore: x\n\n"), "The encrypted file is damaged."),
        (SEALED.replace(b"\n\n", b"\ndata-key: %%%\n\n"), "The encrypted file is damaged."),
        (SEALED.partition(b"\n\n")[0] + b"\n\n", "The encrypted file is damaged."),
        (SEALED.partition(b"\n\n")[0], "The encrypted file is damaged."),
        (b"lookit-secret/", "The encrypted file is damaged."),
        (Header("other", STAGING).encoded() + b"x", "It was encrypted with another key than kubernetes-secrets."),
    ],
)  # fmt: skip
def test_what_we_would_not_write_is_refused_without_asking_kms(content: bytes, what: str) -> None:
    with pytest.raises(Failure) as refused:
        unseal(NO_KMS, FILE, content)
    assert refused.value.what.startswith(what)


@pytest.mark.parametrize("header", [Header(KEY, STAGING), Header(KEY, STAGING, b"wrapped")])
def test_a_header_is_read_as_it_was_written(header: Header) -> None:
    assert parse(header.encoded() + b"\n\nbody") == Encrypted(header, b"\n\nbody")
    assert parse(header.encoded() + b"body").form is Form.HEADED


def test_without_a_header_all_of_it_is_the_ciphertext() -> None:
    raw = parse(b"\n$\0 body\n\n")

    assert (raw, raw.form) == (Encrypted(None, b"\n$\0 body\n\n"), Form.RAW)


def test_no_ciphertext_of_kms_is_that_long() -> None:
    with pytest.raises(Failure, match="The encrypted file is damaged"):
        unseal(NO_KMS, FILE, b"\n$" + bytes(66_600))


class KeyRing:
    """Keys in this process that encrypt and decrypt as Cloud KMS does, additional data included."""

    def __init__(self) -> None:
        self._keys: dict[str, AESGCM] = {}

    def _key(self, name: str) -> AESGCM:
        return self._keys.setdefault(name, AESGCM(AESGCM.generate_key(256)))

    def encrypt(self, key: str, plaintext: Secret, additional: bytes = b"") -> bytes:
        nonce = os.urandom(12)
        return KMS_CIPHERTEXT + nonce + self._key(key).encrypt(nonce, plaintext.reveal(), additional)

    def decrypt(self, key: str, ciphertext: bytes, additional: bytes = b"") -> Opened:
        nonce, sealed = ciphertext[2:14], ciphertext[14:]
        return Opened(Secret(self._key(key).decrypt(nonce, sealed, additional)), used_primary=True)


@pytest.mark.parametrize(
    ("form", "size", "is_envelope"),
    [
        (Form.RAW, 0, False), (Form.RAW, 65_536, False),
        (Form.HEADED, 0, False), (Form.HEADED, 65_536, False), (Form.HEADED, 65_537, True),
    ],
)  # fmt: skip
def test_each_form_comes_back_from_any_keys(form: Form, size: int, is_envelope: bool) -> None:
    kms, plaintext = cast("Kms", KeyRing()), Secret(os.urandom(size))

    sealed = seal(kms, FILE, plaintext, form)

    found = parse(sealed)
    assert found.form is form
    assert bool(found.header and found.header.data_key) is is_envelope
    assert unseal(kms, FILE, sealed).plaintext == plaintext


def test_an_envelope_is_sealed_with_its_header() -> None:
    kms = cast("Kms", KeyRing())
    one, other = (parse(seal(kms, FILE, LARGE)) for _ in range(2))
    assert one.header
    assert other.header

    with pytest.raises(Failure, match="Its content does not match the seal"):
        unseal(kms, FILE, other.header.encoded() + one.body)


def test_an_older_content_is_opened_with_its_own_key() -> None:
    assert as_it_was(FILE, Header("older", STAGING).encoded() + b"x").key == "older"
    assert as_it_was(FILE, b"\n$ raw") == FILE


@pytest.mark.parametrize("form", list(Form))
def test_either_form_decrypts_by_hand_with_gcloud(
    connection: Kms, kms: KmsProcess, file: SecretFile, tmp_path: Path, form: Form
) -> None:
    """Runs where gcloud is installed; docs/secrets.md shows the same commands."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    source, target, token, place = (tmp_path / name for name in ("a.enc", "a", "token", "place"))
    token.write_text(kms.token(BOTH))
    place.write_text("staging/lookit-secrets.env")
    sealed = seal(connection, file, Secret(b"A=1\r\n\x00"), form)
    source.write_bytes(sealed if form is Form.RAW else sealed.partition(b"\n\n")[2])
    environment = {
        **os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "g"), "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }  # fmt: skip
    bound = [] if form is Form.RAW else ["--additional-authenticated-data-file", str(place)]
    command = ["gcloud", "kms", "decrypt", "--key", KEY, "--ciphertext-file", str(source), *bound]
    with kms_rest.served(kms, BOTH) as address:
        environment["CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"] = address
        subprocess.run(
            [*command, "--plaintext-file", str(target)], env=environment, capture_output=True, check=True
        )
    assert target.read_bytes() == b"A=1\r\n\x00"


def test_an_envelope_opens_by_hand_as_the_docs_say(connection: Kms, file: SecretFile) -> None:
    """What is checked in today has to open in years, so its form is pinned here without our own words for it."""
    head, gap, content = seal(connection, file, LARGE).partition(b"\n\n")
    fields = dict(line.split(b": ") for line in head.split(b"\n")[1:])

    data_key = connection.decrypt(KEY, base64.b64decode(fields[b"data-key"]), b"staging/lookit-secrets.env")
    opened = AESGCM(data_key.plaintext.reveal()).decrypt(content[:12], content[12:], head + gap)

    assert opened == LARGE.reveal()
    assert len(data_key.plaintext) == 32
    assert len(content) == 12 + len(LARGE) + 16


def test_the_raw_form_has_its_limit() -> None:
    with pytest.raises(Failure, match="A file over 64 KiB has no raw form"):
        seal(NO_KMS, FILE, LARGE, Form.RAW)
