"""No two that start at once are given the same port."""

from itertools import combinations

from sandbox.ports import RANGE
from tests.ports import SHARED, free_port, mine


def test_workers_and_sandboxes_have_ports_of_their_own() -> None:
    given = [RANGE, SHARED, *(mine(f"gw{number}") for number in range(16))]

    for one, other in combinations(given, 2):
        assert not set(one) & set(other)
    assert mine("main") == mine("gw0")


def test_a_port_is_one_of_the_worker_s() -> None:
    assert any(free_port() in mine(f"gw{number}") for number in range(16))
