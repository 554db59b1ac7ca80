"""Both environments, rendered once, and two releases."""

import pytest

from tests.kubernetes.rendering import Tree, build_release, checked_in


@pytest.fixture(scope="session")
def staging() -> Tree:
    return checked_in("staging")


@pytest.fixture(scope="session")
def production() -> Tree:
    return checked_in("production")


@pytest.fixture(scope="session", params=["staging", "production"])
def tree(request: pytest.FixtureRequest) -> Tree:
    found: Tree = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def releases() -> tuple[Tree, Tree]:
    """Version A, then version B, as a deploy renders them; A's commit and tag are numbers for YAML."""
    first = build_release("staging", "12345678e0" + "0" * 30, "1.10")
    second = build_release("staging", "b" * 40, "v2.0")
    return first, second
