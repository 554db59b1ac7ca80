"""Running the application's tests in their own image, beside a PostgreSQL of their own.

Whatever was started is removed on every exit that Python sees, signals included; what `kill -9` leaves behind
is removed by the next run.
"""

import os
import platform
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from psutil import pid_exists

from tasks.lib import console, process, signals
from tasks.lib.build_variables import BuildVariables
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.image import build, docker, engine
from tasks.lib.image.checkout import Tree
from tasks.lib.settings.model import Settings, TimeLimits
from tasks.lib.signals import uninterrupted

IMAGE = "lookit-test"
SECONDS_BETWEEN_QUESTIONS = 0.1
# What `docker run` itself exits with: the container, or the command in it, could not be started.
NOT_STARTED = frozenset({125, 126, 127})
OWNER = "org.lookit.test-run"
UNTIL = "org.lookit.test-run.until"


class SuiteFailed(Failure):
    """The tests failed, or could not be started; the exit code is what `docker run` ended with."""

    def __init__(self, code: int, command: Sequence[str]) -> None:
        if code in NOT_STARTED:
            super().__init__(
                f"The application's tests could not be started: docker exited with {code}.",
                f"The reason is above; the command was `{process.spelled(command)}`.",
                "Fix test.command in invoke.yaml, or name another with --command.",
            )
        else:
            super().__init__(
                f"The application's tests failed: `{process.spelled(command)}` exited with {code}.",
                "Their output is above.",
            )
        self.exit_code = code


def words(command: str) -> list[str]:
    """A command as a person types it, split as a shell does; a UsageError where its quotes do not match."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(
            f"The command cannot be read: {command}", f"{error}.",
            "./inv test --command 'pytest -k \"one or two\"'",
        ) from error  # fmt: skip


def run_suite(
    settings: Settings, tree: Tree, variables: BuildVariables, *,
    file: str = "", command: Sequence[str] = (),
) -> None:  # fmt: skip
    """Build the test image of `tree` and run its tests against a fresh PostgreSQL.

    Raises SuiteFailed where the tests failed; its exit code is theirs. Raises Failure where Docker is
    missing, the image cannot be built, or the database does not start. Raises TimedOut where a part took
    longer than its limit.
    """
    limits = settings.time_limits
    image = build_image(settings, tree, variables, file or settings.test.file)
    sweep(limits.docker)
    # No other run has this name, and it says whose it is.
    run, labels = f"lookit-test-{os.getpid()}-{secrets.token_hex(3)}", run_labels(limits)
    with ExitStack() as cleaning:
        cleaning.enter_context(_network(run, labels, limits.docker))
        wait_for_database(settings, cleaning.enter_context(database(settings, run, labels)))
        wanted = docker.Run(
            image=image, name=f"{run}-suite", network=run, labels=labels,
            environment=_pairs(settings.test.environment), command=command or settings.test.command,
        )  # fmt: skip
        cleaning.enter_context(_removed_afterwards(wanted.name, limits.docker))
        console.heading(f"Tests: {process.spelled(wanted.command)}")
        code = process.stream(
            docker.run(wanted), time_limit=limits.test, setting="time_limits.test",
            stop=partial(_stop, wanted.name, limits.docker),
        )  # fmt: skip
        if code:
            engine.check_alive(limits.docker, "tests")
    if code:
        raise SuiteFailed(code, wanted.command)


def _stop(container: str, seconds: float, ended: process.Ended) -> None:
    """Stop the tests; where that fails, removing the container fails as well, and says so."""
    with suppress(Failure):
        engine.stop(container, ended, process.SECONDS_TO_END, seconds)


def build_image(settings: Settings, tree: Tree, variables: BuildVariables, file: str) -> str:
    """Build the test image, and first the application's where it is based on that; returns its name."""
    image = f"{IMAGE}:{variables.short_sha}"
    wanted = docker.Build(
        source=tree.folder, file=tree.folder / file, tags=[image], network=settings.build.network,
        platform=settings.build.platform,
        arguments=build.build_arguments(settings, variables), secrets=build.build_secrets(settings, tree),
    )  # fmt: skip
    build.check(tree, file)
    names = build.application_bases(settings, wanted.file.read_text(errors="replace"))
    with build.named_as_base(settings, tree, variables, names):
        build.run(settings, wanted, f"{image} from {tree.source / file}")
    return image


@contextmanager
def _network(name: str, labels: Mapping[str, str], seconds: float) -> Iterator[None]:
    """A network of this run's own, removed afterwards."""
    try:
        engine.make(docker.create_network(name, labels), seconds)
        yield
    finally:
        with uninterrupted():
            quietly(docker.remove_network(name), seconds)


@contextmanager
def _removed_afterwards(container: str, seconds: float) -> Iterator[None]:
    """Remove a container, started or not, and its volumes when done."""
    try:
        yield
    finally:
        with uninterrupted():
            quietly(docker.remove_container(container), seconds)


@contextmanager
def database(settings: Settings, network: str, labels: Mapping[str, str]) -> Iterator[str]:
    """A database in that network, removed afterwards with its volumes; yields its container's name."""
    test = settings.test
    wanted = docker.Run(
        image=test.database_image, name=f"{network}-database", network=network, alias=test.database_alias,
        environment=_pairs(test.database_environment), labels=labels, detached=True,
    )  # fmt: skip
    with _removed_afterwards(wanted.name, settings.time_limits.docker):
        console.heading(f"Database: {test.database_image}")
        _start(wanted, settings.time_limits)
        yield wanted.name


def _start(wanted: docker.Run, limits: TimeLimits) -> None:
    """Start the database; its image may have to be fetched first."""
    try:
        engine.fetch(wanted.image, limits.docker, limits.image_push)
        engine.make(docker.run(wanted), limits.docker)
    except TimedOut:
        raise
    except Failure as failure:
        raise Failure(
            f"The test database {wanted.image} could not be started.", failure.why,
            "Fix test.database_image in invoke.yaml, or `docker login` to its registry.",
        ) from failure  # fmt: skip


def wait_for_database(settings: Settings, container: str) -> None:
    """Return as soon as the database in `container` accepts connections.

    Raises Failure where its container ended; its last lines are the reason. Raises TimedOut where it runs,
    but accepts none within the limit.
    """
    limits, started = settings.time_limits, time.monotonic()
    ready = docker.execute(container, *settings.test.database_ready)
    while not _succeeds(ready, limits.docker):
        state = process.run(docker.running(container), time_limit=limits.docker).stdout
        if state.strip() != b"true":
            raise Failure(
                "The test database ended before it was ready.", _last_lines(container, limits.docker)
            )
        if time.monotonic() - started > limits.database_ready:
            raise TimedOut(
                f"The test database accepted no connection within {limits.database_ready:g} s.",
                _last_lines(container, limits.docker),
                "Raise time_limits.database_ready, or fix test.database_ready, in invoke.yaml.",
            )
        signals.sleep(SECONDS_BETWEEN_QUESTIONS)
    console.say(f"The database accepts connections after {time.monotonic() - started:.1f} s.")


def _pairs(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


def _succeeds(argv: Sequence[str], seconds: float) -> bool:
    try:
        process.run(argv, time_limit=seconds)
    except Failure:
        return False
    return True


def _last_lines(container: str, seconds: float) -> str:
    """The end of what a container printed, on both streams."""
    done = process.run(docker.logs(container), time_limit=seconds)
    return process.last_lines(done.stdout + done.stderr)


def run_labels(limits: TimeLimits) -> Mapping[str, str]:
    """The labels of all that this run makes from now on, once its image is built."""
    longest = limits.image_push + limits.database_ready + limits.test + 10 * limits.docker
    return {OWNER: f"{here()}:{os.getpid()}", UNTIL: f"{time.time() + longest:.0f}"}


def sweep(seconds: float) -> list[str]:
    """Remove what runs left behind whose process here is gone, or whose time is over; returns the names."""
    removed = []
    for kind, remove in (("container", docker.remove_container), ("network", docker.remove_network)):
        listed = process.run(docker.labelled(kind, OWNER, UNTIL), time_limit=seconds).stdout.decode()
        for line in listed.splitlines():
            name, owner, until = [*line.split(" "), ""][:3]
            if _abandoned(owner) or _over(until):
                quietly(remove(name), seconds)
                removed.append(name)
    return removed


def quietly(argv: Sequence[str], seconds: float) -> None:
    """Clean up; what cannot be cleaned up is said, but does not hide how the run ended."""
    try:
        engine.remove(argv, seconds)
    except Failure as failure:
        if "No such" not in failure.why and "not found" not in failure.why:
            console.say(f"Warning: `{process.spelled(argv)}` failed, so it is still there: {failure.why}")


def here() -> str:
    """Where this process's number means something: this machine, and in a container that container alone."""
    space = Path("/proc/self/ns/pid")
    return f"{platform.node()}/{space.readlink() if space.is_symlink() else ''}"


def _abandoned(owner: str) -> bool:
    """Whether `owner` (place:pid) is a process of this place that is gone."""
    where, _, pid = owner.rpartition(":")
    return where == here() and pid.isdigit() and not pid_exists(int(pid))


def _over(until: str) -> bool:
    """Whether this second of the epoch, as a label has it, is past."""
    return until.isdigit() and int(until) < time.time()
