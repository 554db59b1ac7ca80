"""Reading a build file: its fields, and what Cloud Build refuses beyond them; all problems are told at once.

Sources: https://cloud.google.com/build/docs/build-config-file-schema, and for what it leaves open the package
validate of Google's own runner, https://github.com/GoogleCloudPlatform/cloud-build-local.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from posixpath import normpath
from typing import Any

from tasks.lib.errors import UsageError, all_problems, nearest
from tasks.lib.pipeline.build_file import SECTIONS, WORKSPACE, Build, Volume, title
from tasks.lib.settings.files import load_yaml
from tasks.lib.settings.structure import Kind, Problem, Problems, fill

MOST_STEPS = 300
START = "-"
LONGEST_SECONDS = 24 * 3600.0
VOLUME_NAME = "[a-zA-Z0-9][a-zA-Z0-9_.-]+"
RESERVED_PATHS = frozenset({WORKSPACE, "/", "/builder/home", "/var/run/docker.sock"})
# Google's tools read some of the spellings that these are compared by, and refuse others.
NEAR = 0.85


def load(path: Path) -> Build:
    """Read and check a build file; all problems are listed in one UsageError."""
    import yaml

    try:
        content = load_yaml(path.read_text())
    except OSError as error:
        raise UsageError(
            f"The build file {path} cannot be read.", str(error), "Name one with --file."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML.", str(error)) from error
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Build:
    """Check the content of a build file named `where`, as `load`."""
    try:
        build = fill(Build, content, ignored=lambda problem: not misspelled(problem.path[-1]))
    except Problems as error:
        problems = [_told(problem) for problem in error.problems]
        raise all_problems(f"{where} is not a valid build file.", problems) from error
    if problems := [problem + "." for rule in RULES for problem in rule(build)]:
        raise all_problems(f"Cloud Build would refuse {where}.", problems)
    return build


def _told(problem: Problem) -> str:
    """One problem in words."""
    if problem.kind is Kind.UNKNOWN:
        return f"{problem.key} is not a field; did you mean {misspelled(problem.path[-1])}?"
    if problem.kind is Kind.MISSING:
        return f"{problem.key} is missing."
    return f"{problem.key or 'The whole file'} should be {problem.expected}."


def misspelled(name: str) -> str:
    """The field that was meant by `name`; empty where `name` is a field, or like none."""
    near = nearest(name, (field.name for section in SECTIONS for field in fields(section)), NEAR)
    return near if near != name else ""


def _steps(build: Build) -> list[str]:
    if not build.steps:
        return ["a build needs at least one step"]
    if len(build.steps) > MOST_STEPS:
        return [f"{len(build.steps)} steps are too many: at most {MOST_STEPS} are allowed"]
    return [f"step {title(build, index)} names no image" for index, s in enumerate(build.steps) if not s.name]


def _identifiers(build: Build) -> list[str]:
    """Ids are unique, and a step waits only for steps before it."""
    problems, known = [], {START}
    for index, step in enumerate(build.steps):
        problems += [
            f"step {title(build, index)} waits for {wanted!r}, which is not a step before it"
            for wanted in step.waitFor
            if wanted not in known
        ]
        if step.id == START:
            problems.append(f"step #{index} has the id {START!r}, which means the start")
        elif step.id and step.id in known:
            problems.append(f"two steps have the id {step.id!r}")
        known |= {step.id} - {""}
    return problems


def _scripts(build: Build) -> list[str]:
    return [
        f"step {title(build, index)} has a script, so it can have neither args nor entrypoint"
        for index, step in enumerate(build.steps)
        if step.script and (step.args or step.entrypoint)
    ]


def _timeouts(build: Build) -> list[str]:
    problems = []
    if not 0 <= build.timeout <= LONGEST_SECONDS:
        problems.append(f"the build may take {build.timeout:g} s, but at most 24 hours are allowed")
    for index, step in enumerate(build.steps):
        seconds = step.timeout or 0
        if seconds < 0:
            problems.append(f"step {title(build, index)} may take {seconds:g} s, which is negative")
        if seconds > build.timeout:
            whole = f"the whole build only {build.timeout:g} s"
            problems.append(f"step {title(build, index)} may take {seconds:g} s, {whole}")
    return problems


def _volumes(build: Build) -> list[str]:
    """Each volume is used by two steps or more, and no two have the same path."""
    problems, steps_with = [], Counter[str]()
    for index, step in enumerate(build.steps):
        mounted = [*build.options.volumes, *step.volumes]
        problems += [f"step {title(build, index)}{problem}" for problem in _mounting(mounted)]
        steps_with.update({volume.name for volume in mounted})
    return problems + [
        f"the volume {name!r} is used by one step only" for name, times in steps_with.items() if times == 1
    ]


def _mounting(volumes: Sequence[Volume]) -> list[str]:
    """What is wrong with the volumes of one step."""
    problems = [f" uses the volume name {name!r} twice" for name in twice(volume.name for volume in volumes)]
    problems += [f" uses the volume path {path!r} twice" for path in twice(volume.path for volume in volumes)]
    for volume in volumes:
        path = normpath(volume.path)
        if not re.fullmatch(VOLUME_NAME, volume.name):
            problems.append(f": the volume name {volume.name!r} is not like {VOLUME_NAME}")
        if not path.startswith("/"):
            problems.append(f": the volume path {volume.path!r} must be absolute")
        if path in RESERVED_PATHS or path.startswith("/cloudbuild/"):
            problems.append(f": the volume path {volume.path!r} is reserved by Cloud Build")
    return problems


def _variables(build: Build) -> list[str]:
    """Variables have names, and none is both plain and secret."""
    places = [("options", build.options.env)]
    places += [(f"step {title(build, index)}", step.env) for index, step in enumerate(build.steps)]
    problems = [
        f"{place}: {entry!r} in env is not NAME=VALUE"
        for place, env in places
        for entry in env
        if entry.find("=") < 1
    ]
    for index, step in enumerate(build.steps):
        plain = {entry.partition("=")[0] for entry in (*build.options.env, *step.env)}
        secret = sorted({*build.options.secretEnv, *step.secretEnv} & plain)
        problems += [f"step {title(build, index)}: {name} is in both env and secretEnv" for name in secret]
    return problems


def _secrets(build: Build) -> list[str]:
    """Every secret variable comes from one declared secret, and every declared secret is used."""
    declared = declared_secrets(build)
    problems = [f"two secrets are declared for {name}" for name in twice(declared)]
    wanted = set[str]()
    for index, step in enumerate(build.steps):
        asked = [*build.options.secretEnv, *step.secretEnv]
        problems += [f"step {title(build, index)} names the secret {name} twice" for name in twice(asked)]
        problems += [
            f"step {title(build, index)}: no secret is declared for {name}"
            for name in dict.fromkeys(asked)
            if name not in declared
        ]
        wanted.update(asked)
    return problems + [f"no step uses the secret {name}" for name in declared if name not in wanted]


def _artifacts(build: Build) -> list[str]:
    """Artifacts are paths and the bucket that they go to."""
    objects = build.artifacts.objects
    problems = []
    if objects.paths and not objects.location.startswith("gs://"):
        problems.append(
            f"artifacts.objects.location is {objects.location!r}, which is not gs://BUCKET/FOLDER"
        )
    if objects.location and not objects.paths:
        problems.append("artifacts.objects names no paths")
    return problems


def declared_secrets(build: Build) -> list[str]:
    """The variables of the file's secrets, one entry for each declaration."""
    available = build.availableSecrets
    inline = [name for secret in available.inline for name in secret.envMap]
    return [*(secret.env for secret in available.secretManager), *inline]


def twice(values: Iterable[str]) -> list[str]:
    """The values that occur more than once."""
    return [value for value, times in Counter(values).items() if times > 1]


RULES = (_steps, _identifiers, _scripts, _timeouts, _volumes, _variables, _secrets, _artifacts)
