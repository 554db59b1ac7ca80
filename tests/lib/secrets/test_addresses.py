"""Secrets that go into an address as they are."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis.strategies import characters, text

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets.expected import refuse_unfit
from tasks.lib.secrets.files import SecretFile

FILE = SecretFile("lookit-secrets.env", "staging", "key", Path("x.env.enc"), Path("x.env"), "x.env.enc")
KEYS = ("rabbitmq-password",)


def env(password: str) -> Secret:
    return Secret(f"OTHER=#%/?[]\nrabbitmq-password={password}\n".encode())


@given(text(characters(min_codepoint=32, max_codepoint=126)))
def test_what_passes_is_read_back_from_the_address(password: str) -> None:
    try:
        refuse_unfit(FILE, env(password), KEYS)
    except Failure:
        return
    # As kombu, and so Celery, reads it.
    parts = urlsplit(f"http://admin:{password}@broker:5672//")
    assert (unquote(parts.password or ""), parts.hostname, parts.port) == (password, "broker", 5672)


@pytest.mark.parametrize("character", "#%/?[]é\t")
def test_characters_that_break_an_address_are_refused(character: str) -> None:
    with pytest.raises(Failure) as refused:
        refuse_unfit(FILE, env(f"canary{character}x"), KEYS)
    assert refused.value.what == "The value of rabbitmq-password does not fit, so nothing was encrypted."
    assert refused.value.next_step.endswith("| ./inv secrets.set rabbitmq-password --environment staging")
    assert "canary" not in str(refused.value)


def test_a_value_from_before_stops_no_other_change() -> None:
    refuse_unfit(FILE, Secret(b"OTHER=new\nrabbitmq-password=a#b\n"), KEYS, env("a#b"))
    with pytest.raises(Failure):
        refuse_unfit(FILE, env("a#c"), KEYS, env("a#b"))


def test_a_value_from_before_may_move_to_another_line() -> None:
    refuse_unfit(FILE, Secret(b"NEW=1\nOTHER=x\nrabbitmq-password=a#b\n"), KEYS, env("a#b"))
