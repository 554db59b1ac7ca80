"""From a build file to steps that can be run: substitutions filled in, waits turned into a graph."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.lib.errors import UsageError, all_problems
from tasks.lib.pipeline.build_file import WORKSPACE, Build, Step, Volume, title
from tasks.lib.pipeline.substitutions import USER_DEFINED, WITH_DEFAULTS, Substituter, key_problems, resolve


@dataclass(frozen=True, kw_only=True)
class ReadyStep:
    """A step with nothing left to replace."""

    index: int
    title: str
    identifier: str  # its id, or `#N` where it has none
    image: str
    args: Sequence[str]
    entrypoint: str
    script: str
    env: Mapping[str, str]
    secrets: Sequence[str]
    directory: str
    volumes: Sequence[Volume]
    needs: frozenset[int]  # the numbers of the steps that must have succeeded before
    timeout: float | None  # None: only the build's own limit holds
    allow_failure: bool
    allow_exit_codes: Sequence[int]

    def allows(self, code: int | None) -> bool:
        """Whether the build goes on when this step fails with `code`, or with None reaches its limit.

        Exit codes that are named win over allowFailure, as the API's reference says of allow_exit_codes.
        """
        return code in self.allow_exit_codes if self.allow_exit_codes else self.allow_failure


@dataclass(frozen=True)
class Encrypted:
    """A value that a key of Cloud KMS encrypted."""

    key: str
    ciphertext: bytes


# Where the value of a secret variable comes from: a version in Secret Manager, or the file itself.
Source = str | Encrypted


@dataclass(frozen=True, kw_only=True)
class ReadyBuild:
    """A build with nothing left to replace; `doubts` are substitutions that may not do what was meant."""

    steps: Sequence[ReadyStep]
    timeout: float
    images: Sequence[str]
    artifacts: Sequence[str]
    secrets: Mapping[str, Source]
    doubts: Sequence[str] = ()


def ready(build: Build, given: Mapping[str, str], where: str) -> ReadyBuild:
    """Fill in all substitutions, as for a build that a trigger starts; messages call the file `where`.

    Those `given` win over the file's, but for built-in ones that are empty, such as TAG_NAME without a tag.
    Raises UsageError where a substitution is wrongly named or cannot be filled in; all are listed.
    """
    user = {**build.substitutions, **{k: v for k, v in given.items() if USER_DEFINED.fullmatch(k)}}
    user |= {name: given[name] for name in WITH_DEFAULTS & user.keys() if given.get(name)}
    substituter = resolve({**given, **user})
    steps = [_step(build, index, substituter) for index in range(len(build.steps))]
    images = [substituter.text(image) for image in build.images]
    artifacts = [substituter.text(path) for path in build.artifacts.objects.paths]
    substituter.text(build.artifacts.objects.location)
    secrets = _secrets(build, substituter)
    filled = {name: substituter.values[name] for name in user}
    problems = dict.fromkeys([*key_problems(user), *key_problems(filled), *substituter.problems])
    if problems:
        raise all_problems(
            f"The substitutions of {where} cannot be filled in.", [problem + "." for problem in problems]
        )
    return ReadyBuild(
        steps=steps, timeout=build.timeout, images=images, artifacts=artifacts, secrets=secrets,
        doubts=substituter.doubts,
    )  # fmt: skip


def _step(build: Build, index: int, substituter: Substituter) -> ReadyStep:
    step, text = build.steps[index], substituter.text
    return ReadyStep(
        index=index,
        title=title(build, index),
        identifier=step.id or f"#{index}",
        image=text(step.name),
        args=[text(argument) for argument in step.args],
        entrypoint=text(step.entrypoint),
        script=step.script,  # substitutions reach scripts as variables only
        env=_variables(build, step, substituter),
        secrets=list(dict.fromkeys([*build.options.secretEnv, *step.secretEnv])),
        directory=str(PurePosixPath(WORKSPACE) / text(step.dir)),
        volumes=[*build.options.volumes, *step.volumes],
        needs=needs(build, index),
        timeout=step.timeout,
        allow_failure=step.allowFailure,
        allow_exit_codes=step.allowExitCodes,
    )


def _variables(build: Build, step: Step, substituter: Substituter) -> dict[str, str]:
    """A step's variables: substitutions where they are mapped, the build's own, the step's own on top."""
    own = step.automapSubstitutions
    mapped = build.options.automapSubstitutions if own is None else own
    found = dict(substituter.values) if mapped else {}
    for entry in (*build.options.env, *step.env):
        name, _, value = substituter.text(entry).partition("=")
        found[name] = value
    return found


def _secrets(build: Build, substituter: Substituter) -> dict[str, Source]:
    """Where the value of every secret variable comes from."""
    found: dict[str, Source] = {
        secret.env: substituter.text(secret.versionName) for secret in build.availableSecrets.secretManager
    }
    for secret in build.availableSecrets.inline:
        for name, text in secret.envMap.items():
            found[name] = Encrypted(substituter.text(secret.kmsKeyName), b64decode(text))
    return found


def needs(build: Build, index: int) -> frozenset[int]:
    """The steps that must succeed before step `index`: those named, none for `-`, else all before it."""
    wanted = build.steps[index].waitFor
    if not wanted:
        return frozenset(range(index))
    return frozenset(i for i in range(index) if build.steps[i].id and build.steps[i].id in wanted)


def selected(steps: Sequence[ReadyStep], *, start: str, only: str) -> Sequence[ReadyStep]:
    """The steps to run: all, those from step `start` on, or step `only`; a UsageError where there is none."""
    if start and only:
        raise UsageError("Both --from and --only were given.", next_step="Give one of them.")
    if only:
        return [steps[_find(steps, only)]]
    return steps[_find(steps, start) if start else 0 :]


def _find(steps: Sequence[ReadyStep], name: str) -> int:
    for index, step in enumerate(steps):
        if name in {step.identifier, str(step.index)}:
            return index
    raise UsageError(f"There is no step {name!r}.", f"Steps: {', '.join(step.identifier for step in steps)}.")
