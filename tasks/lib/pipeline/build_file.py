"""A build file as types.

Source: https://cloud.google.com/build/docs/build-config-file-schema.  Fields that mean nothing on one
machine (machine types, log buckets, provenance) are accepted and ignored.
"""

import re
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Annotated

from tasks.lib.settings.structure import Parsed

BUILD_SECONDS = 3600.0  # Cloud Build's default for a whole build
WORKSPACE = "/workspace"


def _seconds(value: object) -> object:
    """`120s` as Google's JSON writes durations."""
    if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s", str(value)):
        raise ValueError("a number of seconds such as 120s")
    return float(str(value)[:-1])


def _base64(value: object) -> object:
    """Base64 as `gcloud kms encrypt | base64` wraps it; white space is ignored."""
    text = "".join(str(value).split())
    try:
        b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("base64") from error
    return text


Duration = Annotated[float, Parsed(_seconds)]
Base64 = Annotated[str, Parsed(_base64)]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A named volume and where a step sees it."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step, as the file has it."""

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
    automapSubstitutions: bool = False


@dataclass(frozen=True, kw_only=True)
class ManagedSecret:
    """A version in Secret Manager and its variable."""

    versionName: str
    env: str


@dataclass(frozen=True, kw_only=True)
class InlineSecret:
    """Values in the file itself, encrypted with a key of Cloud KMS, by their variables."""

    kmsKeyName: str
    envMap: dict[str, Base64]


@dataclass(frozen=True, kw_only=True)
class AvailableSecrets:
    """The secrets that steps may ask for."""

    secretManager: list[ManagedSecret] = field(default_factory=list)
    inline: list[InlineSecret] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Files of the workspace that Cloud Build uploads to a bucket."""

    location: str = ""
    paths: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """What is kept of a build."""

    objects: Objects = field(default_factory=Objects)


@dataclass(frozen=True, kw_only=True)
class Build:
    """A whole build file."""

    steps: list[Step]
    substitutions: dict[str, str] = field(default_factory=dict)
    timeout: Duration = BUILD_SECONDS
    options: Options = field(default_factory=Options)
    availableSecrets: AvailableSecrets = field(default_factory=AvailableSecrets)
    images: list[str] = field(default_factory=list)
    artifacts: Artifacts = field(default_factory=Artifacts)


SECTIONS = (Build, Step, Options, Volume, Artifacts, Objects, AvailableSecrets, ManagedSecret, InlineSecret)


def title(build: Build, index: int) -> str:
    """How logs and messages call a step: `#2 - "push"`, or just its number."""
    identifier = build.steps[index].id
    return f'#{index} - "{identifier}"' if identifier else f"#{index}"
