"""Whatever becomes of an encrypted file: it is refused by name, and not one plaintext is written.

The functions are those that `./inv decrypt` calls; tests/lib/secrets/test_formats.py looks at single files.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets import crypt, plaintexts
from tasks.lib.secrets.crypt import encrypt_all
from tasks.lib.secrets.envelope import Form
from tasks.lib.secrets.files import SecretFile, secret_files
from tasks.lib.settings.model import Settings
from tests.kms_process import KEY_OWNER, KmsProcess
from tests.secrets_settings import PLAINTEXTS, settings_for

FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAME = "lookit-secrets.env"
LARGE = Secret(b"A=" + b"x" * 70_000)
FORMS = {
    "raw": (Form.RAW, PLAINTEXTS[NAME]),
    "headed": (Form.HEADED, PLAINTEXTS[NAME]),
    "envelope": (Form.HEADED, LARGE),
}
# How a refusal may begin; whatever else comes would be an accident.
NAMED = (
    "The encrypted file is damaged", "The encrypted file belongs to ", "It was encrypted with another key than ",
    "The encrypted file has a newer form", "The encrypted file is empty",
)  # fmt: skip


@pytest.fixture
def checkout(kms: KmsProcess, tmp_path: Path) -> Settings:
    """The files of both environments, the staging one named NAME in the form that the test asks for."""
    owner = settings_for(kms, tmp_path, KEY_OWNER)
    for environment in owner.environments.values():
        encrypt_all(owner, environment, PLAINTEXTS)
    return settings_for(kms, tmp_path)


def in_form(kms: KmsProcess, checkout: Settings, form: str) -> SecretFile:
    owner = settings_for(kms, checkout.root, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), {NAME: FORMS[form][1]}, FORMS[form][0])
    return files_of(checkout, "staging")[0]


def files_of(checkout: Settings, environment: str) -> list[SecretFile]:
    return secret_files(checkout, checkout.environment(environment))


@contextmanager
def holding(file: SecretFile, content: bytes) -> Iterator[None]:
    """The encrypted file has this content while inside."""
    before = file.ciphertext.read_bytes()
    file.ciphertext.write_bytes(content)
    try:
        yield
    finally:
        file.ciphertext.write_bytes(before)


def decrypt(checkout: Settings, environment: str) -> None:
    decrypted = crypt.decrypt_all(checkout, checkout.environment(environment))
    plaintexts.write(files_of(checkout, environment), decrypted)


def expect_refusal(checkout: Settings, file: SecretFile, content: bytes) -> str:
    """Why it is refused; it is by name, and nothing was written."""
    with holding(file, content), pytest.raises(Failure) as refused:
        decrypt(checkout, file.environment)
    first = refused.value.why.splitlines()[0].removeprefix(f"- {file.name}: ")
    assert refused.value.what == f"1 of 4 secrets of {file.environment} could not be decrypted."
    assert first.startswith(NAMED)
    folder = file.plaintext.parent
    assert {path.suffix for path in folder.iterdir()} == {".enc"}
    return first


@pytest.mark.parametrize("form", FORMS)
def test_any_flipped_bit_is_refused_and_nothing_is_written(
    kms: KmsProcess, checkout: Settings, form: str
) -> None:
    file = in_form(kms, checkout, form)
    content = file.encrypted()

    @FEW
    @given(position=st.integers(0, len(content) - 1), bit=st.integers(0, 7))
    def flip(position: int, bit: int) -> None:
        flipped = bytearray(content)
        flipped[position] ^= 1 << bit
        expect_refusal(checkout, file, bytes(flipped))

    flip()


@pytest.mark.parametrize("form", FORMS)
def test_any_truncation_is_refused_and_nothing_is_written(
    kms: KmsProcess, checkout: Settings, form: str
) -> None:
    file = in_form(kms, checkout, form)
    content = file.encrypted()

    @FEW
    @given(length=st.integers(0, len(content) - 1))
    def cut(length: int) -> None:
        expect_refusal(checkout, file, content[:length])

    cut()


def test_swapped_encrypted_files_are_refused(checkout: Settings) -> None:
    staging, production = (files_of(checkout, environment) for environment in ("staging", "production"))
    within = list(itertools.permutations(staging, 2))
    across = list(zip(staging, production, strict=True))
    for place, other in [*within, *across, *(pair[::-1] for pair in across)]:
        why = expect_refusal(checkout, place, other.encrypted())
        assert why == f"The encrypted file belongs to {other.bound_to}, not to {place.bound_to}."


@pytest.mark.parametrize("part", ["data key", "content"])
def test_parts_of_two_envelopes_do_not_fit_together(kms: KmsProcess, checkout: Settings, part: str) -> None:
    file = in_form(kms, checkout, "envelope")
    first = file.encrypted().partition(b"\n\n")
    second = in_form(kms, checkout, "envelope").encrypted().partition(b"\n\n")
    mixed = (second[0], first[2]) if part == "data key" else (first[0], second[2])
    why = expect_refusal(checkout, file, b"\n\n".join(mixed))
    assert why == "The encrypted file is damaged."


# Around KMS's limit the size matters; Hypothesis draws few bytes well and so many badly.
AT_THE_LIMIT = st.builds(bytes.ljust, st.binary(max_size=40), st.integers(65_530, 65_600))


@FEW
@given(plaintext=st.binary(max_size=400) | AT_THE_LIMIT)
def test_any_bytes_come_back_as_a_file(kms: KmsProcess, checkout: Settings, plaintext: bytes) -> None:
    owner = settings_for(kms, checkout.root, KEY_OWNER)
    encrypt_all(owner, owner.environment("staging"), {"googleAppCreds.json": Secret(plaintext)})
    decrypt(checkout, "staging")
    (file,) = [file for file in files_of(checkout, "staging") if file.name == "googleAppCreds.json"]
    assert file.plaintext.read_bytes() == plaintext
