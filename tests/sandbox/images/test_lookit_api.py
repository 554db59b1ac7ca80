"""The image of a checkout on the sandbox's own base: what it is made of, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.images import lookit_api
from sandbox.images.lookit_api import system_packages
from tasks.lib.errors import UsageError
from tasks.lib.image.checkout import Tree
from tasks.lib.image.contract import FILES

COMMIT = "1" * 40
DOCKERFILE = """\
FROM python:3.13-slim-bookworm
# RUN apt-get install vim
RUN apt-get update \\
\t&& apt-get install -y --no-install-recommends \\
        gosu=1.14-1+b10 \\
        libc6-dev=2.36-9+deb12u13 \\
    && rm -rf /var/lib/apt/lists/*
RUN apt install --yes gettext; python manage.py compilemessages
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A commit in the layout of lookit-api."""
    files = dict.fromkeys(FILES, "") | {
        "Dockerfile": DOCKERFILE,
        "pyproject.toml": '[project]\nname = "lookit-api"\nrequires-python = "==3.13.*"\n',
        "uv.lock": "version = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return Tree(source=Path("/home/dev/lookit-api"), folder=tmp_path)


def keys(tree: Tree) -> dict[str, str]:
    """The key of each layer by its name."""
    return {one.name: one.key for one in lookit_api.recipe("r", tree, COMMIT).layer.stack}


def refused(tree: Tree) -> UsageError:
    with pytest.raises(UsageError) as failure:
        lookit_api.recipe("r", tree, COMMIT)
    return failure.value


def test_packages_of_the_dockerfile_come_without_their_versions() -> None:
    assert system_packages(DOCKERFILE) == ["gosu", "libc6-dev", "gettext"]


@pytest.mark.parametrize("dockerfile", ["", "FROM base\nRUN apt-get install -y $PACKAGES\n"])
def test_a_dockerfile_that_names_no_package_gets_todays(dockerfile: str) -> None:
    assert system_packages(dockerfile) == list(lookit_api.SYSTEM_PACKAGES)


def test_the_image_is_named_after_the_commit_and_tells_it(tree: Tree) -> None:
    made = lookit_api.recipe("gcr.io/mit-lookit/lookit", tree, COMMIT)

    assert made.names == (f"gcr.io/mit-lookit/lookit:{COMMIT}",)
    assert f"GIT_COMMIT={COMMIT}" in made.config["Env"]
    assert made.config["WorkingDir"] == "/code"
    assert made.layer.script.index("manage.py compilemessages") < made.layer.script.index("certifi")


def test_a_changed_file_makes_only_the_layer_of_the_files_again(tree: Tree) -> None:
    before = keys(tree)
    (tree.folder / "project/settings.py").write_text("DEBUG = False\n")

    after = keys(tree)

    assert {name for name in before if before[name] != after[name]} == {"lookit-api"}


def test_a_changed_lock_makes_the_packages_again(tree: Tree) -> None:
    before = keys(tree)
    (tree.folder / "uv.lock").write_text("version = 2\n")

    after = keys(tree)

    assert {name for name in before if before[name] != after[name]} == {"lookit-api", "lookit-api-packages"}


def test_a_list_of_requirements_is_a_lock_too(tree: Tree) -> None:
    (tree.folder / "uv.lock").unlink()
    (tree.folder / "requirements.txt").write_text("django==5.2.1\n")

    packages = lookit_api.recipe("r", tree, COMMIT).layer.stack[-2]

    assert list(packages.files) == ["/code/requirements.txt"]
    assert "uv export" not in packages.script


def test_a_folder_without_manage_py_is_no_checkout(tree: Tree) -> None:
    (tree.folder / "manage.py").unlink()

    failure = refused(tree)

    assert failure.what == "/home/dev/lookit-api is not a checkout of lookit-api."
    assert failure.why == "Its commit has no manage.py."


def test_a_checkout_without_a_lock_is_refused_with_docker_as_another_way(tree: Tree) -> None:
    (tree.folder / "uv.lock").unlink()

    failure = refused(tree)

    assert "has neither uv.lock with pyproject.toml nor requirements.txt" in failure.why
    assert "docker pull python:3.13-slim-bookworm" in failure.next_step


def test_another_python_is_refused_before_anything_is_made(tree: Tree) -> None:
    (tree.folder / "pyproject.toml").write_text('[project]\nrequires-python = "==3.9.*"\n')

    failure = refused(tree)

    assert failure.what == "Python ==3.9.* is not available in the sandbox."
    assert lookit_api.PYTHON_VERSION in failure.why
    assert "docker pull python:3.13-slim-bookworm" in failure.next_step


def test_a_broken_pyproject_is_told(tree: Tree) -> None:
    (tree.folder / "pyproject.toml").write_text("[project\n")

    assert refused(replace(tree)).what == "pyproject.toml of the checkout cannot be read."
