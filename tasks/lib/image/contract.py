"""What the application asks of the manifests, read from a checkout, beside what they give it.

Only Python's syntax is read: nothing of the checkout runs.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lib import console, process
from tasks.lib.errors import Failure, UsageError
from tasks.lib.render import documents, kustomize
from tasks.lib.render.pods import containers_of, pod_specs
from tasks.lib.settings.model import Environment, Settings

# What the manifests point Celery and uWSGI at, and what their commands name.
FILES = ("manage.py", "project/celery.py", "project/wsgi.py", "project/settings.py")
READERS = frozenset({"os.environ.get", "os.getenv", "os.environ.setdefault", "environ.get", "getenv"})
OF_THE_IMAGE = re.compile(r"^\s*(?:ENV|ARG)\s+(.+)$", re.MULTILINE)
NAME = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]*)(?==|\s|$)")


@dataclass(frozen=True)
class Asked:
    """A variable that the application reads: where first, and whether it can do without."""

    place: str
    needed: bool


@dataclass(frozen=True)
class Comparison:
    """Where application and manifests differ."""

    missing_files: tuple[str, ...]
    unset: Mapping[str, Asked]  # read, and given by neither the manifests nor the image
    unread: tuple[str, ...]  # given, and read by no file
    unserved: tuple[str, ...]  # queues that tasks go to and no worker takes from

    def conclude(self) -> None:
        """Raise a Failure where the application cannot run, or work would lie undone."""
        needed = [f"{name} ({asked.place})" for name, asked in self.unset.items() if asked.needed]
        why = [
            *(f"- The manifests run {name}, which is not there." for name in self.missing_files),
            *(f"- It needs {name}, which no container is given." for name in needed),
            *(f"- It sends tasks to the queue {name}, which no worker takes from." for name in self.unserved),
        ]
        if why:
            what = "The application and the manifests do not fit together."
            raise Failure(what, "\n".join(why), "docs/application.md says where each of these is set.")


def check(settings: Settings, checkout: Path) -> None:
    """Compare the checkout with the first environment's manifests, and say what differs.

    Raises Failure where the application cannot run by them.
    """
    found = compare(settings, next(iter(settings.environments.values())), checkout)
    tell(found)
    found.conclude()


def compare(settings: Settings, environment: Environment, checkout: Path) -> Comparison:
    """Compare the checkout with the manifests of `environment`.

    Raises UsageError where `checkout` holds no Python file, Failure where a file of it cannot be parsed, or
    the manifests cannot be built.
    """
    trees = dict(_parsed(checkout))
    if not trees:
        next_step = "Name a checkout of lookit-api: ./inv test --contract --source ../lookit-api"
        raise UsageError(f"There is no Python file in {checkout}.", next_step=next_step)
    containers = _containers(settings, environment)
    asked = variables_read(trees)
    given = {variable["name"] for container in containers for variable in container.get("env", [])}
    return Comparison(
        tuple(name for name in FILES if not (checkout / name).is_file()),
        {name: found for name, found in asked.items() if name not in given | _of_the_image(checkout)},
        tuple(sorted(name for name in given - set(asked) if not name.startswith("DOCKER_"))),
        tuple(sorted(queues_used(trees.values()) - queues_served(containers))),
    )


def variables_read(trees: Mapping[str, ast.AST]) -> dict[str, Asked]:
    """Every variable that the files read, by name; `trees` are parsed files by their path."""
    found: dict[str, Asked] = {}
    for place, tree in trees.items():
        for name, line, needed in _reads(tree):
            if name not in found or (needed and not found[name].needed):
                found[name] = Asked(f"{place}:{line}", needed)
    return dict(sorted(found.items()))


def queues_used(trees: Iterable[ast.AST]) -> set[str]:
    """The queues of CELERY_TASK_ROUTES and of `queue=` in calls and decorators."""
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found |= {_text(value) for key, value in pairs if _text(key) == "queue"}
        elif isinstance(node, ast.keyword) and node.arg == "queue":
            found.add(_text(node.value))
    return found - {""}


def queues_served(containers: Iterable[Mapping[str, Any]]) -> set[str]:
    """The queues that `celery … worker -Q` of any container takes from."""
    commands = [container.get("command", []) for container in containers]
    return {
        name
        for command in commands
        if "worker" in command and "-Q" in command
        for name in command[command.index("-Q") + 1].split(",")
    }


def tell(found: Comparison) -> None:
    """Say what differs and stops nothing."""
    for name, asked in found.unset.items():
        if not asked.needed:
            console.say(f"{name} is read ({asked.place}) and not set: its default counts.")
    if found.unread:
        console.say(f"Set, and read by no file: {', '.join(found.unread)}")


def _reads(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """Name and line of each variable that is read, and whether it has to be there."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=reader, args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(reader) in READERS:
                    yield name, node.lineno, False
            case ast.Subscript(value=read, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
                if ast.unparse(read) in {"os.environ", "environ"}:
                    yield name, node.lineno, True


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _parsed(checkout: Path) -> Iterator[tuple[str, ast.AST]]:
    """Each Python file that runs on a server, by its path; tests and hidden folders are left out."""
    for path in sorted(checkout.rglob("*.py")):
        place = path.relative_to(checkout)
        if any(part.startswith((".", "test")) or part == "node_modules" for part in place.parts):
            continue
        try:
            yield str(place), ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise Failure(f"{path} is not valid Python.", str(error)) from error


def _of_the_image(checkout: Path) -> set[str]:
    """The variables that the Dockerfile sets."""
    path = checkout / "Dockerfile"
    text = path.read_text(errors="replace").replace("\\\n", " ") if path.is_file() else ""
    return {name for line in OF_THE_IMAGE.findall(text) for name in NAME.findall(line)}


def _containers(settings: Settings, environment: Environment) -> list[dict[str, Any]]:
    """The containers that run the application's image, as the tree builds them without any secret."""
    overlay = settings.tree / environment.overlay
    argv = kustomize.build_argv(kustomize.kubectl(settings), overlay, settings.kustomize.options)
    done = process.run(argv, time_limit=settings.time_limits.render)
    return [
        container
        for document in documents.split(done.stdout.decode())
        for spec in pod_specs(document.content)
        for _, container in containers_of(spec)
        if container.get("image", "").startswith(f"{settings.image.repository}:")
    ]
