"""What Cloud Build refuses about a build file, beyond its schema.

Sources: https://cloud.google.com/build/docs/build-config-file-schema, and for what it leaves open the package
validate of Google's own runner, https://github.com/GoogleCloudPlatform/cloud-build-local.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from posixpath import normpath

from tasks.lib.pipeline.model import WORKSPACE, Build, Volume, title

MOST_STEPS = 300
START = "-"
LONGEST_SECONDS = 24 * 3600.0
VOLUME_NAME = "[a-zA-Z0-9][a-zA-Z0-9_.-]+"
RESERVED_PATHS = frozenset({WORKSPACE, "/", "/builder/home", "/var/run/docker.sock"})


def _steps(build: Build) -> list[str]:
    if not build.steps:
        return ["a build needs at least one step"]
    if len(build.steps) > MOST_STEPS:
        return [f"{len(build.steps)} steps are too many: at most {MOST_STEPS} are allowed"]
    return [f"step {title(build, index)} names no image" for index, s in enumerate(build.steps) if not s.name]


def _identifiers(build: Build) -> list[str]:
    """Ids are unique, and a step waits only for steps before it."""
    faults, known = [], {START}
    for index, step in enumerate(build.steps):
        faults += [
            f"step {title(build, index)} waits for {wanted!r}, which is no step before it"
            for wanted in step.waitFor
            if wanted not in known
        ]
        if step.id == START:
            faults.append(f"step #{index} is called {START!r}, which stands for the start")
        elif step.id and step.id in known:
            faults.append(f"two steps are called {step.id!r}")
        known |= {step.id} - {""}
    return faults


def _scripts(build: Build) -> list[str]:
    return [
        f"step {title(build, index)} has a script, so it can have neither args nor entrypoint"
        for index, step in enumerate(build.steps)
        if step.script and (step.args or step.entrypoint)
    ]


def _timeouts(build: Build) -> list[str]:
    faults = []
    if not 0 <= build.timeout <= LONGEST_SECONDS:
        faults.append(f"the build may take {build.timeout:g} s, but at most 24 hours are allowed")
    for index, step in enumerate(build.steps):
        seconds = step.timeout or 0
        if seconds < 0:
            faults.append(f"step {title(build, index)} may take {seconds:g} s, less than nothing")
        if seconds > build.timeout:
            whole = f"the whole build only {build.timeout:g} s"
            faults.append(f"step {title(build, index)} may take {seconds:g} s, {whole}")
    return faults


def _volumes(build: Build) -> list[str]:
    """A volume that one step alone sees is a mistake, and two cannot lie at the same place."""
    faults, steps_with = [], Counter[str]()
    for index, step in enumerate(build.steps):
        mounted = [*build.options.volumes, *step.volumes]
        faults += [f"step {title(build, index)}{fault}" for fault in _mounting(mounted)]
        steps_with.update({volume.name for volume in mounted})
    return faults + [
        f"the volume {name!r} is used by one step only" for name, times in steps_with.items() if times == 1
    ]


def _mounting(volumes: Sequence[Volume]) -> list[str]:
    """What is wrong with the volumes that one step sees."""
    faults = [f" uses the volume name {name!r} twice" for name in twice(volume.name for volume in volumes)]
    faults += [f" uses the volume path {path!r} twice" for path in twice(volume.path for volume in volumes)]
    for volume in volumes:
        path = normpath(volume.path)
        if not re.fullmatch(VOLUME_NAME, volume.name):
            faults.append(f": the volume name {volume.name!r} is not like {VOLUME_NAME}")
        if not path.startswith("/"):
            faults.append(f": the volume path {volume.path!r} must be absolute")
        if path in RESERVED_PATHS or path.startswith("/cloudbuild/"):
            faults.append(f": the volume path {volume.path!r} is Cloud Build's own")
    return faults


def _variables(build: Build) -> list[str]:
    """Variables have names, and none is plain and secret at once."""
    places = [("options", build.options.env)]
    places += [(f"step {title(build, index)}", step.env) for index, step in enumerate(build.steps)]
    faults = [
        f"{place}: {entry!r} in env is not NAME=VALUE"
        for place, env in places
        for entry in env
        if entry.find("=") < 1
    ]
    for index, step in enumerate(build.steps):
        plain = {entry.partition("=")[0] for entry in (*build.options.env, *step.env)}
        secret = sorted({*build.options.secretEnv, *step.secretEnv} & plain)
        faults += [f"step {title(build, index)}: {name} is in both env and secretEnv" for name in secret]
    return faults


def _secrets(build: Build) -> list[str]:
    """Every secret variable comes from one declared secret, and every declared secret is asked for."""
    declared = declared_secrets(build)
    faults = [f"two secrets become {name}" for name in twice(declared)]
    wanted = set[str]()
    for index, step in enumerate(build.steps):
        asked = [*build.options.secretEnv, *step.secretEnv]
        faults += [f"step {title(build, index)} asks for the secret {name} twice" for name in twice(asked)]
        faults += [
            f"step {title(build, index)}: no declared secret becomes {name}"
            for name in dict.fromkeys(asked)
            if name not in declared
        ]
        wanted.update(asked)
    return faults + [f"no step asks for the secret {name}" for name in declared if name not in wanted]


def declared_secrets(build: Build) -> list[str]:
    """The variables that the file's secrets become, one entry for each time that one is declared."""
    available = build.availableSecrets
    inline = [name for secret in available.inline for name in secret.envMap]
    older = [name for secret in build.secrets for name in secret.secretEnv]
    return [*(secret.env for secret in available.secretManager), *inline, *older]


def twice(values: Iterable[str]) -> list[str]:
    """The values that occur more than once."""
    return [value for value, times in Counter(values).items() if times > 1]


RULES = (_steps, _identifiers, _scripts, _timeouts, _volumes, _variables, _secrets)
