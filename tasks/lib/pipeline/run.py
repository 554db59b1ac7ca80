"""A whole pipeline on this machine: read, fill in, prepare, run, and one table at the end in any case."""

import json
import os
import shlex
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.lib import console
from tasks.lib.build_variables import BuildVariables, repository_full_name
from tasks.lib.console import spoken
from tasks.lib.errors import Failure, TimedOut, UsageError
from tasks.lib.image import checkout, engine
from tasks.lib.image.push import push_name
from tasks.lib.image.reference import parse
from tasks.lib.image.registry import may_change
from tasks.lib.pipeline import artifacts, containers, local, reading, secrets
from tasks.lib.pipeline.graph import Graph, Launch, Result
from tasks.lib.pipeline.steps import ReadyBuild, ReadyStep, ready, selected
from tasks.lib.pipeline.substitutions import USER_DEFINED
from tasks.lib.pipeline.triggers import account_address
from tasks.lib.redaction import Public, Redactor, Secret
from tasks.lib.secrets import sensitive
from tasks.lib.settings.model import Environment, Settings

Ended = Callable[[Sequence[Result]], None]
COLOURS = {"SUCCESS": "green", "FAILURE": "red", "TIMEOUT": "red", "CANCELLED": "yellow"}


@dataclass(frozen=True)
class Sandbox:
    """The sandbox that steps work against: its folder, and what gives the variables that lead steps there."""

    state: Path
    variables: Callable[[Sequence[ReadyStep]], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run."""

    file: Path
    source: Path  # the checkout that becomes /workspace
    environment: Environment  # that the branch deploys to
    variables: BuildVariables
    start: str = ""  # the step to begin at; empty for the first
    only: str = ""  # the step to run alone; empty for all
    substitutions: Mapping[str, str]
    in_containers: bool
    sandbox: Sandbox | None = None
    settings_file: Path | None = None  # of this run, which this repository's tasks read too


def run_build(settings: Settings, request: Request, ended: Ended = lambda _: None) -> list[Result]:
    """Run the pipeline; `ended` takes how each step ended, also when the build fails.

    Raises UsageError where the build file breaks a rule, or there is no step of that name; Failure where a
    step failed, or something that steps need is missing; TimedOut where a step or the whole build reached its
    limit.
    """
    build = reading.load(request.file)
    made = ready(build, substitutions(settings, request), request.file.name)
    for doubt in made.doubts:
        console.say(f"Warning: {request.file.name}: {doubt}.")
    for image in made.images:
        parse(image)  # a bad name is told before anything runs
    steps = selected(made.steps, start=request.start, only=request.only)
    if request.in_containers:
        containers.check(steps, settings.pipeline.network)
    else:
        local.check(steps, settings.pipeline.orchestrator)
    values = secrets.values(settings, made.secrets, [name for step in steps for name in step.secrets])
    with ExitStack() as stack:
        workspace = stack.enter_context(checkout.copied(request.source, request.variables.commit_sha))
        env = request.sandbox.variables(steps) if request.sandbox else {}
        launcher: containers.Containers | local.Local
        if request.in_containers:
            launcher = stack.enter_context(_in_containers(settings, request, steps, values, env, workspace))
        else:
            launcher = local.Local(
                settings.root, workspace, values, env, request.settings_file, made.secrets.keys()
            )
        stack.callback(keep_artifacts, settings, made, launcher.take)
        results = run_graph(made, steps, launcher.launch, values, ended)
    conclude(results)
    if request.in_containers and len(steps) == len(made.steps):
        push_images(settings, made.images)
    return results


def named(options: Sequence[str]) -> dict[str, str]:
    """User-defined substitutions as they are given to `--substitution`: `_NAME=VALUE`."""
    pairs = [option.partition("=") for option in options]
    if wrong := ["".join(pair) for pair in pairs if not pair[1] or not USER_DEFINED.fullmatch(pair[0])]:
        raise UsageError(
            f"A substitution is given as _NAME=VALUE, not as {', '.join(wrong)}.",
            "Its name begins with an underscore and has capitals, digits and underscores.",
        )
    return {name: value for name, _, value in pairs}


def substitutions(settings: Settings, request: Request) -> dict[str, str]:
    """What a trigger would give: the built-in substitutions and the environment's own."""
    variables, tag = request.variables, request.variables.tag_name
    tagged = "" if tag == settings.image.default_tag else tag
    environment = request.environment
    account = account_address(environment, environment.project)
    return {
        "PROJECT_ID": environment.project,
        "BUILD_ID": str(uuid.uuid4()),
        "LOCATION": settings.pipeline.location,
        "TRIGGER_NAME": f"lookit-{environment.name}",
        "TRIGGER_BUILD_CONFIG_PATH": "",  # the trigger holds the file itself
        "SERVICE_ACCOUNT_EMAIL": account,
        "SERVICE_ACCOUNT": f"projects/{environment.project}/serviceAccounts/{account}",
        "COMMIT_SHA": variables.commit_sha,
        "REVISION_ID": variables.commit_sha,
        "SHORT_SHA": variables.short_sha,
        "REPO_NAME": variables.repo_name,
        "REPO_FULL_NAME": repository_full_name(settings.source.repository),
        "BRANCH_NAME": variables.branch_name,
        "TAG_NAME": tagged,
        "REF_NAME": tagged or variables.branch_name,
        "_ENVIRONMENT": environment.name,
        **settings.pipeline.substitutions,
        **request.substitutions,
    }


@contextmanager
def _in_containers(
    settings: Settings, request: Request, steps: Sequence[ReadyStep], values: Mapping[str, Secret],
    env: Mapping[str, str], workspace: Path,
) -> Iterator[containers.Containers]:  # fmt: skip
    """What runs the steps in containers; images and volumes are prepared, and volumes removed afterwards."""
    limits = settings.time_limits
    engine.versions(limits.docker)
    containers.build_own_images(settings, [step.image for step in steps])
    containers.fetch_images(steps, limits.docker, limits.image_push)
    containers.sweep(limits.docker)
    run = containers.make_name()
    passed: dict[str, str | None] = {name: None for name in os.environ if name.startswith("INVOKE_")}
    with containers.volumes(run, steps, workspace, steps[0].image, limits.docker):
        yield containers.Containers(
            run=run, network=settings.pipeline.network, secrets=values, env={**passed, **env},
            mounts=settings.pipeline.mounts, seconds=limits.docker, own_image=settings.pipeline.orchestrator,
            settings_file=request.settings_file, sandbox=request.sandbox.state if request.sandbox else None,
        )  # fmt: skip


def run_graph(
    build: ReadyBuild,
    chosen: Sequence[ReadyStep],
    launch: Callable[[ReadyStep], Launch],
    values: Mapping[str, Secret],
    ended: Ended = lambda _: None,
) -> list[Result]:
    """Run the steps, print their output with their names before it, and show at the end how each ended."""
    lock = threading.Lock()
    secret = [value.reveal().decode(errors="surrogateescape") for value in values.values()]
    redactor = Redactor(text for value in secret for text in sensitive.within("", value, Public()))

    def tell(step: ReadyStep, line: str) -> None:
        with lock:
            console.say(redactor.line(f"Step {step.title}: {line}"))

    graph = Graph(build.steps, {step.index for step in chosen}, launch, tell, build.timeout)
    try:
        return graph.run()
    finally:
        results = list(graph.results.values())
        console.table(("step", "result", "time"), [row(result) for result in results], "Pipeline")
        ended(results)


def row(result: Result) -> list[console.Cell]:
    """A row of the table; a step that did not run has no time."""
    colour = "yellow" if result.allowed else COLOURS.get(result.state, "dim")
    code = f" (exit code {result.code})" if result.code else ""
    allowed = ", allowed" if result.allowed else ""
    took = spoken(result.seconds) if result.seconds else ""
    return [result.step.title, console.Styled(f"{result.state}{code}{allowed}", colour), took]


def conclude(results: Sequence[Result]) -> None:
    """Fail as the build did."""
    for result in results:
        if result.state in {"FAILURE", "TIMEOUT"} and not result.allowed:
            raise _failure(result)


def _failure(result: Result) -> Failure:
    step = result.step
    # A number alone, because a shell takes # for the beginning of a comment.
    name = str(step.index) if step.identifier == f"#{step.index}" else shlex.quote(step.identifier)
    again = f"Once it is fixed, continue from there: ./inv pipeline --from {name} …"
    if result.state == "TIMEOUT":
        return TimedOut(
            f"The pipeline stopped at step {step.title}: it took longer than {step.timeout:g} s.",
            "Its output is above.", again,
        )  # fmt: skip
    how = f"it exited with {result.code}" if (result.code or 0) > 0 else "it was killed"
    return Failure(f"The pipeline stopped at step {step.title}: {how}.", "Its output is above.", again)


def keep_artifacts(settings: Settings, build: ReadyBuild, take: artifacts.Take) -> None:
    """Keep the build's artifacts on this machine, where it ended well or not."""
    folder = settings.root / settings.pipeline.artifacts / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    try:
        if kept := artifacts.keep(build.artifacts, take, folder):
            console.say(f"Artifacts: {len(kept)} files in {folder}")
    except (Failure, OSError) as problem:
        console.say(f"Warning: artifacts could not be kept in {folder}: {problem}")


def push_images(settings: Settings, images: Sequence[str]) -> None:
    """Push what the build file lists under `images`, as Cloud Build does after the last step."""
    for image in map(parse, images):
        if not may_change(settings, image):
            console.say(f"Not pushed, because with --sandbox nothing leaves this machine: {image}.")
            continue
        engine.image_id(str(image), settings.time_limits.docker)
        push_name(settings, image)


def as_json(results: Sequence[Result]) -> str:
    """The table for scripts."""
    return json.dumps(
        [
            {"step": r.step.identifier, "state": r.state, "code": r.code, "allowed": r.allowed,
             "seconds": round(r.seconds, 3)}
            for r in results
        ],
        indent=2,
    )  # fmt: skip
