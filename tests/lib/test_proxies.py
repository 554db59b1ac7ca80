"""What is on this machine is asked through no proxy."""

import pytest

from tasks.lib.proxies import is_this_machine, spare_this_machine


@pytest.mark.parametrize(
    ("said", "lower", "upper"),
    [
        ({}, "localhost,127.0.0.1,::1", "localhost,127.0.0.1,::1"),
        ({"no_proxy": "a.example"}, "a.example,localhost,127.0.0.1,::1", "a.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "b, 127.0.0.1"}, "b,127.0.0.1,localhost,::1", "b,127.0.0.1,localhost,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1", "b,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": " *"}, "*", "*"),
    ],
    ids=["nothing said", "in small letters", "in capitals", "both", "everything"],
)
def test_this_machine_joins_what_no_proxy_is_asked_for(said: dict[str, str], lower: str, upper: str) -> None:
    spare_this_machine(said)

    assert said == {"no_proxy": lower, "NO_PROXY": upper}


def test_sparing_twice_is_sparing_once() -> None:
    environ = {"no_proxy": "a"}
    spare_this_machine(environ)
    once = dict(environ)
    spare_this_machine(environ)

    assert environ == once


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.53", True),
        ("[::1]", True),
        ("::1", True),
        ("127.example", False),
        ("10.0.0.1", False),
    ],
)
def test_this_machine_is_known_by_its_names(host: str, expected: bool) -> None:
    assert is_this_machine(host) is expected
