"""A build file as types, checked whole: every fault is reported, in Cloud Build's terms.

Source: https://cloud.google.com/build/docs/build-config-file-schema.  Fields that mean nothing on one
machine (machine types, log buckets, provenance) are accepted and left aside.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tasks.lib.errors import UsageError, all_faults
from tasks.lib.structure import Faults, Kind, Parsed, fill

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILD_SECONDS = 3600.0  # Cloud Build's default for a whole build
MOST_STEPS = 300
WORKSPACE = "/workspace"


def _seconds(value: object) -> object:
    """`120s` as Google's JSON writes durations."""
    text = str(value)
    if not text.endswith("s"):
        raise ValueError("a number of seconds such as 120s")
    return float(text[:-1])


Duration = Annotated[float, Parsed(_seconds)]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A named volume and where a step sees it."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step, as it stands in the file."""

    name: str
    id: str = ""
    args: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    secretEnv: list[str] = field(default_factory=list)
    dir: str = ""
    entrypoint: str = ""
    script: str = ""
    waitFor: list[str] = field(default_factory=list)
    timeout: Annotated[float | None, Parsed(_seconds)] = None
    allowFailure: bool = False
    allowExitCodes: list[int] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    automapSubstitutions: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What holds for all steps."""

    env: list[str] = field(default_factory=list)
    secretEnv: list[str] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    substitutionOption: str = "MUST_MATCH"
    dynamicSubstitutions: bool = False
    automapSubstitutions: bool = False


@dataclass(frozen=True, kw_only=True)
class ManagedSecret:
    """A version in Secret Manager and the variable that it becomes."""

    versionName: str
    env: str


@dataclass(frozen=True, kw_only=True)
class AvailableSecrets:
    """The secrets that steps may ask for."""

    secretManager: list[ManagedSecret] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Build:
    """A whole build file."""

    steps: list[Step]
    substitutions: dict[str, str] = field(default_factory=dict)
    timeout: Duration = BUILD_SECONDS
    options: Options = field(default_factory=Options)
    availableSecrets: AvailableSecrets = field(default_factory=AvailableSecrets)
    images: list[str] = field(default_factory=list)


def load(path: Path) -> Build:
    """Read and check a build file.

    Raises:
        UsageError: it is missing, no YAML, or breaks a rule; all such faults are listed.

    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(
            f"The build file {path} cannot be read.", str(error), "Name one with --file."
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML.", str(error)) from error
    return parse(content, str(path))


def parse(content: "Mapping[str, Any]", where: str) -> Build:
    """Check the content of a build file named `where`.

    Raises:
        UsageError: it breaks a rule; all faults are listed.

    """
    try:
        build = fill(Build, content, forgiven=frozenset({Kind.UNKNOWN}))
    except Faults as error:
        faults = [
            f"{fault.key} is {fault.kind.value}."
            if fault.kind is Kind.MISSING
            else f"{fault.key} should be {fault.expected}."
            for fault in error.faults
        ]
        raise all_faults(f"{where} is not a build file of Cloud Build.", faults) from error
    if faults := [fault + "." for rule in RULES for fault in rule(build)]:
        raise all_faults(f"Cloud Build would refuse {where}.", faults)
    return build


def title(build: Build, index: int) -> str:
    """How logs and messages call a step: `#2 - "push"`, or just its number."""
    identifier = build.steps[index].id
    return f'#{index} - "{identifier}"' if identifier else f"#{index}"


def _number_of_steps(build: Build) -> list[str]:
    if not build.steps:
        return ["a build needs at least one step"]
    many = len(build.steps) > MOST_STEPS
    return [f"{len(build.steps)} steps are too many: at most {MOST_STEPS} are allowed"] if many else []


def _identifiers(build: Build) -> list[str]:
    """Ids are unique, and a step waits only for steps before it."""
    faults, known = [], set[str]()
    for index, step in enumerate(build.steps):
        faults += [
            f"step {title(build, index)} waits for {wanted!r}, which is no step before it"
            for wanted in step.waitFor
            if wanted not in known | {"-"}
        ]
        if step.id and step.id in known:
            faults.append(f"two steps are called {step.id!r}")
        known.add(step.id)
    return faults


def _scripts(build: Build) -> list[str]:
    return [
        f"step {title(build, index)} has a script, so it can have neither args nor entrypoint"
        for index, step in enumerate(build.steps)
        if step.script and (step.args or step.entrypoint)
    ]


def _timeouts(build: Build) -> list[str]:
    return [
        f"step {title(build, index)} may take {step.timeout:g} s, the whole build only {build.timeout:g} s"
        for index, step in enumerate(build.steps)
        if step.timeout is not None and step.timeout > build.timeout
    ]


def _volumes(build: Build) -> list[str]:
    """A volume that one step alone sees is a mistake, and two cannot lie at the same place."""
    faults, seen = [], dict[str, int]()
    for index, step in enumerate(build.steps):
        mounted = [*build.options.volumes, *step.volumes]
        for kind, values in (("name", [v.name for v in mounted]), ("path", [v.path for v in mounted])):
            faults += [
                f"step {title(build, index)} uses the volume {kind} {value!r} twice"
                for value in sorted({value for value in values if values.count(value) > 1})
            ]
        faults += [
            f"step {title(build, index)}: volume path {volume.path!r} must be absolute, and not {WORKSPACE}"
            for volume in mounted
            if not volume.path.startswith("/") or volume.path.rstrip("/") in {WORKSPACE, ""}
        ]
        for name in {volume.name for volume in mounted}:
            seen[name] = seen.get(name, 0) + 1
    return faults + [
        f"the volume {name!r} is used by one step only" for name, times in seen.items() if times == 1
    ]


def _variables(build: Build) -> list[str]:
    """Variables have names, and secret ones come from a declared secret."""
    declared = {secret.env for secret in build.availableSecrets.secretManager}
    places = [("options", build.options.env, build.options.secretEnv)]
    places += [(f"step {title(build, i)}", step.env, step.secretEnv) for i, step in enumerate(build.steps)]
    faults = []
    for place, env, secret in places:
        faults += [f"{place}: {entry!r} in env is not NAME=VALUE" for entry in env if entry.find("=") < 1]
        faults += [
            f"{place}: no secret in availableSecrets becomes {name}"
            for name in secret
            if name not in declared
        ]
        plain = {entry.partition("=")[0] for entry in env}
        faults += [f"{place}: {name} is in both env and secretEnv" for name in secret if name in plain]
    return faults


RULES = (_number_of_steps, _identifiers, _scripts, _timeouts, _volumes, _variables)
