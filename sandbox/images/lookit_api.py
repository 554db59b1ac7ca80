"""The image of a checkout of lookit-api on the sandbox's own base, where Docker cannot build it.

It is what the Dockerfile makes, without running its lines: the packages that it installs with apt, the Python
packages of the lock, the files of the commit. docs/sandbox.md says what is left out.
"""

import re
import tomllib
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sandbox.images.layers import Layer
from sandbox.images.recipes import PYTHON, TRUST, Recipe, application_config, apt
from tasks.lib.errors import UsageError
from tasks.lib.image.build import bases
from tasks.lib.image.checkout import Tree
from tasks.lib.image.contract import FILES

UV_LOCK = Path(__file__).parents[2] / "requirements" / "uv.txt"
PYTHON_VERSION = "3.13.5"  # Debian 13's
# What lookit-api's Dockerfile installs, for one that says nothing that can be read here.
SYSTEM_PACKAGES = ("gosu", "gettext", "git", "gcc", "libc6-dev")
INSTALL = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\s+([^&|;\n]*)")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")

UV = Layer(
    "uv",
    "python3 -m venv /opt/uv\n"
    "/opt/uv/bin/pip install -q --no-cache-dir --require-hashes --no-deps -r /usr/local/share/uv.txt\n"
    "ln -s /opt/uv/bin/uv /usr/local/bin/uv\n",
    PYTHON,
    files={"/usr/local/share/uv.txt": UV_LOCK},
)
# The lock names the index that it was written with; as a list of packages they come from this machine's.
LIKE_PIP = (
    "export SSL_CERT_FILE=$PIP_CERT GIT_SSL_CAINFO=$PIP_CERT\n"
    + '[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=$PIP_INDEX_URL\n'
)
FROM_UV = "uv export -q --frozen --no-dev --no-emit-project --no-header --output-file /tmp/packages.txt\n"
FROM_LIST = "cp requirements.txt /tmp/packages.txt\n"
INSTALL_PACKAGES = (
    "uv venv -q /code/.venv\n"
    "uv pip install -q --no-cache --no-deps --compile-bytecode --python /code/.venv -r /tmp/packages.txt\n"
)
# A file that is not valid Python, such as a template of one, is left as it is.
FINISH = (
    "mkdir -p /code/ember_build/checkouts /code/ember_build/deployments\n"
    "python -m compileall -q -x /.venv/ /code || true\n"
)


def recipe(repository: str, tree: Tree, commit: str) -> Recipe:
    """The recipe of a commit's image; the files of `tree` have to be there until it is made.

    Raises:
        UsageError: it is not a checkout of lookit-api, or not one that can be installed here.

    """
    dockerfile = _text(tree.folder / "Dockerfile")
    _require(tree, dockerfile)
    system = Layer("lookit-api-system", apt("python3-dev", *system_packages(dockerfile)), UV)
    packages = _packages(tree.folder, system)
    messages = "/code/.venv/bin/python manage.py compilemessages\n" if "compilemessages" in dockerfile else ""
    # What certifi is to trust is there on a node only, and requests reads it as soon as it is imported.
    code = Layer(
        "lookit-api", "cd /code\n" + messages + TRUST + FINISH, packages, files={"/code": tree.folder}
    )
    return Recipe((f"{repository}:{commit}",), code, application_config(commit))


def system_packages(dockerfile: str) -> list[str]:
    """What a Dockerfile installs with apt, without the versions, which are another Debian's."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    words = " ".join(INSTALL.findall("\n".join(lines).replace("\\\n", " "))).split()
    names = [word.partition("=")[0] for word in words if not word.startswith("-")]
    return [name for name in names if PACKAGE.fullmatch(name)] or list(SYSTEM_PACKAGES)


def _packages(folder: Path, below: Layer) -> Layer:
    """The layer of the Python packages, which changes with the lock only."""
    names = ("uv.lock", "pyproject.toml") if (folder / "uv.lock").is_file() else ("requirements.txt",)
    listed = FROM_UV if "uv.lock" in names else FROM_LIST
    files = {f"/code/{name}": folder / name for name in names}
    return Layer("lookit-api-packages", f"cd /code\n{LIKE_PIP}{listed}{INSTALL_PACKAGES}", below, files=files)


def _require(tree: Tree, dockerfile: str) -> None:
    folder = tree.folder
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise UsageError(
            f"{tree.source} is not a checkout of lookit-api.",
            f"Its commit has no {', '.join(missing)}.",
            "Name one: --source ../lookit-api",
        )
    has_lock = (folder / "uv.lock").is_file() and (folder / "pyproject.toml").is_file()
    if not has_lock and not (folder / "requirements.txt").is_file():
        raise UsageError(
            f"The Python packages of {tree.source} are not pinned in a form that can be installed.",
            "Its commit has neither uv.lock with pyproject.toml nor requirements.txt.",
            f"Write uv.lock (`uv lock`) and commit it. {_with_docker(dockerfile)}",
        )
    wanted = _required_python(folder)
    if not wanted.contains(PYTHON_VERSION):
        raise UsageError(
            f"Python {wanted} is not available in the sandbox.",
            f"pyproject.toml of {tree.source} requires it; the sandbox's base has {PYTHON_VERSION}.",
            _with_docker(dockerfile),
        )


def _with_docker(dockerfile: str) -> str:
    pulls = " && ".join(f"docker pull {base}" for base in bases(dockerfile, {}))
    first = f": {pulls}" if pulls else "."
    return f"Docker builds it where the images that its Dockerfile begins with are on this machine{first}"


def _required_python(folder: Path) -> SpecifierSet:
    """What `requires-python` says; anything where it does not."""
    path = folder / "pyproject.toml"
    try:
        project = tomllib.loads(_text(path)).get("project", {})
        return SpecifierSet(project.get("requires-python", ""))
    except (tomllib.TOMLDecodeError, InvalidSpecifier) as error:
        raise UsageError(f"{path.name} of the checkout cannot be read.", str(error)) from error


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
