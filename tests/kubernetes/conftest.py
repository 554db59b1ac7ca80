"""Both environments, rendered once."""

import pytest

from tests.kubernetes.rendering import Tree, build


@pytest.fixture(scope="session")
def staging() -> Tree:
    return build("staging")


@pytest.fixture(scope="session")
def production() -> Tree:
    return build("production")


@pytest.fixture(scope="session", params=["staging", "production"])
def tree(request: pytest.FixtureRequest) -> Tree:
    found: Tree = request.getfixturevalue(request.param)
    return found
