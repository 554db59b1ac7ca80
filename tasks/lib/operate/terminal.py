"""A command in a running pod: with a terminal where there is one, else with plain pipes.

The pinned kubectl does it.  What the command writes is handed on byte for byte, so that files can be copied:
nothing is masked in it.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.lib import process, signals
from tasks.lib.cluster import kubectl
from tasks.lib.cluster.api import Api, Json
from tasks.lib.deploy.maintenance import is_of
from tasks.lib.deploy.objects import is_going
from tasks.lib.errors import Failure, UsageError, nearest
from tasks.lib.operate import permissions, workloads
from tasks.lib.render import kustomize
from tasks.lib.retry import Attempts
from tasks.lib.settings.model import Environment, Settings

WEB: Final = "web"
SHELL: Final = ("python", "manage.py", "shell")
PRODUCTION: Final = "production"
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
KILLED: Final = 128 + 9
SECONDS_TO_TELL: Final = 5.0
PAUSE: Final = 0.5
# How kubectl's own last line begins: the command's exit code, or why it did not run to its end.
OWN: Final = (b"command terminated with exit code ", b"error: ", b"Error from server")
EXIT_CODE: Final = re.compile(rb"command terminated with exit code (\d+)\s*$")
NOT_STARTED: Final = re.compile(r"unable to start container process: (.*?)(?:: unknown)?$")
NOT_FOUND: Final = re.compile(r"executable file not found|no such file or directory")
NOT_A_PROGRAM: Final = re.compile(r"permission denied|exec format error|is a directory")


@dataclass(frozen=True)
class Wanted:
    """Where a command should run: of a workload, which pod and container, or the best one."""

    workload: str
    pod: str = ""
    container: str = ""


@dataclass(frozen=True)
class Place:
    """A container that runs."""

    pod: str
    container: str
    id: str  # another one after a restart


class NotFound(Failure):
    """The container has no such program; the exit code is a shell's."""

    exit_code = 127


class NotAllowed(NotFound):
    """The container cannot run the program; the exit code is a shell's."""

    exit_code = 126


class Stderr:
    """What kubectl writes to stderr: the command's is handed on, and kubectl's own last line is kept."""

    def __init__(self, hand_on: Callable[[bytes], object]) -> None:
        self.last = b""
        self._hand_on = hand_on

    def take(self, piece: bytes) -> None:
        """Hand a piece on, but for a line at its end that may be kubectl's own."""
        whole = self.last + piece
        start = whole.rfind(b"\n", 0, -1) + 1
        self.last = whole[start:] if whole.endswith(b"\n") and whole[start:].startswith(OWN) else b""
        if others := whole.removesuffix(self.last):
            self._hand_on(others)

    def end(self) -> None:
        """Hand the last line on too: it was the command's."""
        self._hand_on(self.last)


def run(
    settings: Settings,
    environment: Environment,
    wanted: Wanted,
    command: Sequence[str],
    say: Callable[[str], None],
) -> int:
    """Run a command in a running container of a workload; returns its exit code.

    Raises:
        UsageError: there is no command, or no such workload, pod or container.
        Failure: no pod is ready, a right is missing, the command was not found, or its pod went away.

    """
    if not wanted.workload or not command:
        example = "./inv app.exec web --environment staging -- python manage.py check"
        raise UsageError("A workload and a command are needed.", "", f"For example: {example}")
    with workloads.reached(settings, environment) as (connection, _):
        [workload] = workloads.find(settings, environment, connection, [wanted.workload])
        permissions.require(
            connection.api, permissions.of_kubectl_exec(environment.namespace), "run commands in pods"
        )
        pods = f"/api/v1/namespaces/{environment.namespace}/pods"
        found, _ = connection.api.list(pods, doing="list pods")
        of_it = [pod for pod in found if workloads.belongs(pod, [workload])]
        place = choose(of_it, wanted, environment, settings.image.repository)
        if environment.name == PRODUCTION:
            say(f"This is {PRODUCTION}: pod {place.pod}, container {place.container}.")
        program = kustomize.kubectl(settings)
        with (
            kubectl.private(program, connection.api, environment.namespace) as private,
            process.kept_terminal(),
        ):
            stderr = Stderr(_to_stderr)
            argv = private.argv(*arguments(place, command, has_terminal=_has_terminal()))
            code = process.stream(argv, env=kubectl.ENVIRONMENT, errors=stderr.take)
        if code == 0:
            stderr.end()
        return outcome(connection.api, pods, place, code, stderr.last)


def choose(pods: Sequence[Json], wanted: Wanted, environment: Environment, image: str) -> Place:
    """The pod and the container to run in: by default the newest pod that is ready, and the application's.

    Raises:
        UsageError: there is none of that name.
        Failure: none is ready, or the container does not run.

    """
    pod = _named(pods, wanted) if wanted.pod else _ready(pods, wanted, environment)
    name = _container(pod, wanted.container, image)
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    running = [one for one in statuses if one["name"] == name and "running" in (one.get("state") or {})]
    if not running:
        raise Failure(
            f"Container {name} of pod {pod['metadata']['name']} does not run.",
            workloads.why_not_ready(pod),
            f"./inv app.logs {wanted.workload} --environment {environment.name} shows what it wrote.",
        )
    return Place(pod["metadata"]["name"], name, str(running[0].get("containerID", "")))


def arguments(place: Place, command: Sequence[str], *, has_terminal: bool) -> tuple[str, ...]:
    """What kubectl is asked."""
    terminal = ["--tty"] if has_terminal else []
    return ("exec", "--stdin", *terminal, f"--container={place.container}", place.pod, "--", *command)


def outcome(api: Api, pods: str, place: Place, code: int, last: bytes) -> int:
    """The exit code of the command.

    `last` is the last line of kubectl's own.  A command that was killed may have been so with its container.

    Raises:
        Failure: it could not start, or its pod or the connection went away.

    """
    ended = EXIT_CODE.search(last)
    if code == 0 or (ended and code != KILLED):
        return code
    said = last.decode(errors="replace").strip().removeprefix("error: ")
    if not ended and (refused := _refused(place, said)):
        raise refused
    if gone := _gone(api, pods, place):
        raise gone
    if ended:
        return code
    raise Failure(
        f"The connection to pod {place.pod} ended before the command did.",
        said or f"kubectl ended with {code}.",
        "The command may still run there. Look at it, then run it again.",
    )


def _named(pods: Sequence[Json], wanted: Wanted) -> Json:
    by_name = {str(pod["metadata"]["name"]): pod for pod in pods}
    if wanted.pod in by_name:
        return by_name[wanted.pod]
    guess = nearest(wanted.pod, by_name)
    raise UsageError(
        f"{wanted.workload} has no pod {wanted.pod!r}.",
        f"There are: {', '.join(sorted(by_name)) or 'none'}.",
        f"Did you mean {guess}?" if guess else "Leave out --pod: one that is ready is taken.",
    )


def _ready(pods: Sequence[Json], wanted: Wanted, environment: Environment) -> Json:
    if pod := workloads.newest_ready(pods):
        return pod
    raise Failure(
        f"No pod of {wanted.workload} is ready in {environment.name}.",
        "\n".join(workloads.why_not_ready(pod) for pod in pods) or "It has no pods.",
        f"./inv status --environment {environment.name} shows why; "
        "--pod NAME takes one that runs without being ready.",
    )


def _container(pod: Json, name: str, image: str) -> str:
    containers = pod["spec"]["containers"]
    names = [str(one["name"]) for one in containers]
    if name and name not in names:
        title = pod["metadata"]["name"]
        raise UsageError(f"Pod {title} has no container {name!r}.", f"There are: {', '.join(names)}.")
    of_the_app = [one["name"] for one in containers if is_of(one, image)]
    default = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    return str(name or next(iter([*([default] if default in names else []), *of_the_app, *names])))


def _refused(place: Place, said: str) -> Failure | None:
    """The error for a command that the container's runtime could not start; None for another one."""
    match, where = NOT_STARTED.search(said), f"container {place.container} of pod {place.pod}"
    if match and NOT_FOUND.search(match[1]):
        return NotFound(f"The command was not found in {where}.", match[1], "Check its name and its path.")
    if match and NOT_A_PROGRAM.search(match[1]):
        return NotAllowed(f"The command cannot be run in {where}.", match[1], "Check that it is a program.")
    return None


def _gone(api: Api, pods: str, place: Place) -> Failure | None:
    """The error for a container that ended while the command ran; None if it still runs.

    A kubelet tells a moment later that a container has ended.
    """
    named = {"fieldSelector": f"metadata.name={place.pod}"}
    attempts = Attempts(SECONDS_TO_TELL, PAUSE, PAUSE)
    while True:
        live, _ = api.list(pods, doing=f"read pod {place.pod}", query=named)
        if failure := lost(live, place):
            return failure
        pause = attempts.pause()
        if pause is None:
            return None
        signals.sleep(pause)


def lost(live: Sequence[Json], place: Place) -> Failure | None:
    """The error if the container is not there any more; `live` is the pod, or empty."""
    again = "Run it again: another pod is taken."
    if not live or any(is_going(pod) for pod in live):
        return Failure(f"Pod {place.pod} was removed while the command ran.", "", again)
    statuses = [one for pod in live for one in (pod.get("status") or {}).get("containerStatuses") or []]
    now: Json = next((one for one in statuses if one["name"] == place.container), {})
    if now.get("containerID", "") == place.id and "running" in (now.get("state") or {}):
        return None
    state, last = now.get("state") or {}, now.get("lastState") or {}
    end = state.get("terminated") or last.get("terminated") or {}
    why = f"{end.get('reason', 'Error')}, exit code {end['exitCode']}." if "exitCode" in end else ""
    return Failure(f"Container {place.container} of pod {place.pod} ended while the command ran.", why, again)


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _to_stderr(piece: bytes) -> None:
    sys.stderr.buffer.write(piece)
    sys.stderr.buffer.flush()
