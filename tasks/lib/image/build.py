"""Building the application's image from a checkout: its names, and what it is told.

The image is also the base of its test image: `Dockerfile.dev` may say `FROM lookit`.  That name cannot be
pulled: the application's own build gives it to the image that it has just built.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template

from tasks.lib import console, process
from tasks.lib.build_variables import COMMIT, BuildVariables
from tasks.lib.errors import Failure, UsageError
from tasks.lib.files import real
from tasks.lib.image import docker, engine
from tasks.lib.image.checkout import CHANGED, Tree
from tasks.lib.image.digest import parsed
from tasks.lib.image.reference import DOCKER_HUB, Reference, parse, tag_for
from tasks.lib.settings.model import Settings

LABEL = "org.opencontainers.image"
BUILT_FROM = "org.lookit.built-from"
# NPM_TOKEN, githubPassword, and words such as the last of API_KEY; not TOKENIZER, AUTHOR.
SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token(?!iz)|credential|(?:api|private|access)key"
    r"|(?<![a-z])(?:pass|pwd|key|auth|creds?|dsn)(?![a-z])",
    re.IGNORECASE,
)
# An address with a password in it, or a key.
SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY-----")
ARG = re.compile(r"ARG\s+(\w+)=[\"']?([^\s\"']*)", re.IGNORECASE)
FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)


def build(
    settings: Settings, tree: Tree, variables: BuildVariables, *, file: str = "", platform: str = ""
) -> list[Reference]:
    """Build the application's image and return the names it got."""
    file = file or settings.build.file
    check(tree, file)
    wanted = plan(settings, tree, variables, file=file, platform=platform)
    run(settings, wanted, f"{wanted.tags[0]} from {tree.source / file}")
    return [parse(tag) for tag in wanted.tags]


def run(settings: Settings, wanted: docker.Build, image: str) -> None:
    """Run one build, of what messages call `image`; a Failure where it fails."""
    builder = engine.builder(settings.time_limits.docker)
    console.heading(f"Build {image} with {builder.value}")
    if wanted.cache_from and builder is docker.Builder.CLASSIC:
        _fetch_cache(wanted.cache_from, settings.time_limits.image_push)
    told = command(wanted, builder)
    code = process.stream(
        told.argv, env=told.env, time_limit=settings.time_limits.image_build, to_stderr=True,
        setting="time_limits.image_build",
    )  # fmt: skip
    if code:
        engine.check_alive(settings.time_limits.docker, "build")
        raise Failure(
            f"The image could not be built: {image}.",
            f"`{process.spelled(told.argv[:3])} …` exited with {code}; its output is above.",
            "Fix the Dockerfile or what it runs, commit, and run the same command again.",
        )


def check(tree: Tree, file: str) -> None:
    """Refuse to build without a Dockerfile."""
    if not (tree.folder / file).is_file():
        uncommitted = (tree.source / file).is_file()
        raise UsageError(
            f"There is nothing to build: {tree.source} has no {file}.",
            "The file is there, but not in the commit." if uncommitted else "",
            "Commit it, or build with --worktree." if uncommitted
            else "Name a checkout of the application with --source, and its Dockerfile with --file.",
        )  # fmt: skip


def ensure(settings: Settings, tree: Tree, variables: BuildVariables) -> Reference:
    """The commit's image, built first where the engine does not have it."""
    main = names(settings, variables)[0]
    try:
        labels = engine.labels(str(main), settings.time_limits.docker)
    except Failure:
        labels = {}
    wanted = {f"{LABEL}.revision": variables.commit_sha, BUILT_FROM: tree.built_from}
    if tree.built_from == CHANGED or not wanted.items() <= labels.items():
        build(settings, tree, variables)
    return main


def names(settings: Settings, variables: BuildVariables) -> list[Reference]:
    """The names of a commit's image: its commit first, then the release tag where it has one."""
    repository = parse(settings.image.repository)
    tags = [variables.commit_sha]
    if variables.tag_name != settings.image.default_tag:
        tags.append(variables.tag_name)
    return [repository.tagged(tag) for tag in tags]


def following(settings: Settings, variables: BuildVariables) -> list[Reference]:
    """The name that follows the commit's branch; none for a commit of no branch."""
    tag = tag_for(variables.branch_name)
    return [] if tag in {"", "detached"} else [parse(settings.image.repository).tagged(tag)]


def plan(
    settings: Settings, tree: Tree, variables: BuildVariables, *, file: str = "", platform: str = ""
) -> docker.Build:
    """Decide all that `docker build` is told: nothing of the release tag but a name (docs/build.md says why).

    The labels follow https://github.com/opencontainers/image-spec/blob/main/annotations.md; `created` is the
    time of the commit, so that the same commit is labelled the same whenever it is built.
    """
    labels = {
        f"{LABEL}.source": settings.source.repository,
        f"{LABEL}.revision": variables.commit_sha,
        f"{LABEL}.version": variables.commit_sha,
        BUILT_FROM: tree.built_from,
    }
    if tree.committed:
        labels[f"{LABEL}.created"] = tree.committed
    return docker.Build(
        source=tree.folder,
        file=tree.folder / (file or settings.build.file),
        tags=[str(name) for name in names(settings, variables)],
        platform=platform or settings.build.platform,
        network=settings.build.network,
        cache_from=settings.build.cache_from,
        arguments=build_arguments(settings, variables),
        secrets=build_secrets(settings, tree),
        labels=labels,
    )


def contradiction(labels: Mapping[str, str], tag: str) -> str:
    """Why an image is not what a tag says: built from changes, or from another commit; empty where it is."""
    commit, changed = labels.get(f"{LABEL}.revision", ""), labels.get(BUILT_FROM) == CHANGED
    if not changed and (commit == tag or not COMMIT.fullmatch(tag)):
        return ""
    says = f"commit {commit}" if commit else "no commit"
    return f"Its labels name {says}{' with uncommitted changes' if changed else ''}."


def build_arguments(settings: Settings, variables: BuildVariables) -> dict[str, str]:
    """What the application's Dockerfiles are told: the commit, for a tag too, and the settings' own.

    Raises UsageError where one looks secret, by its name (which `guard.open_keys` may spare) or its value.
    """
    own = settings.build.arguments
    secret = [
        name for name, value in own.items()
        if (SECRET_NAME.search(name) and name not in settings.guard.open_keys) or SECRET_VALUE.search(value)
    ]  # fmt: skip
    if secret:
        raise UsageError(
            f"build.arguments has what looks secret: {', '.join(secret)}.",
            "Build arguments stay in the image: `docker history` shows them to everybody who can pull it.",
            f"Set `build.secrets: {{{secret[0]}: FILE}}`; use `RUN --mount=type=secret,id={secret[0]} …`. "
            "If the name only sounds so, add it to guard.open_keys.",
        )
    return {"GIT_COMMIT": variables.commit_sha, "GIT_TAG": variables.commit_sha, **own}


def build_secrets(settings: Settings, tree: Tree) -> dict[str, Path]:
    """The files that hold the secrets of the application's Dockerfiles, by their ids.

    Raises UsageError where one is missing, or in the checkout, which a Dockerfile may copy whole.
    """
    files = {name: real(settings.root / file) for name, file in settings.build.secrets.items()}
    if missing := [f"{name} ({file})" for name, file in files.items() if not file.is_file()]:
        raise UsageError(
            f"build.secrets names files that are missing: {', '.join(missing)}.",
            next_step="Write each value to its file, which only you may read: install -m 600 /dev/stdin FILE",
        )
    if inside := [
        f"{name} ({file})" for name, file in files.items() if file.is_relative_to(real(tree.source))
    ]:
        raise UsageError(
            f"build.secrets names files in the checkout: {', '.join(inside)}.",
            "A `COPY .` of the Dockerfile would take them into the image.",
            f"Move them out of {tree.source}, and name them there.",
        )
    return files


def command(wanted: docker.Build, with_: docker.Builder) -> docker.Command:
    """How a builder is told to build; a Failure where the classic one would need secrets."""
    if wanted.secrets and with_ is docker.Builder.CLASSIC:
        raise Failure(
            f"The classic builder cannot give a build secrets: {', '.join(wanted.secrets)}.",
            "build.secrets needs BuildKit, and this machine's Docker has no buildx.",
            "Install buildx (Ubuntu: apt-get install docker-buildx; elsewhere: https://docs.docker.com/go/buildx/).",
        )
    return docker.build(wanted, with_)


def _fetch_cache(image: str, seconds: float) -> None:
    """The classic builder reuses only layers that are here already; others are built again."""
    try:
        process.run(docker.pull(image), time_limit=seconds)
    except Failure as failure:
        console.say(f"No layers of {image} can be reused: {failure.why or failure.what}")


def application_bases(settings: Settings, dockerfile: str) -> Sequence[str]:
    """The names by which a Dockerfile asks for the application's image; none where it is based on others.

    `test.base_name` says it; else it is a name without a registry that ends as `image.repository` does.
    """
    if settings.test.base_name:
        return [settings.test.base_name]
    own = parse(settings.image.repository)
    last = own.repository.rpartition("/")[2]
    local = {(own.registry, own.repository), (DOCKER_HUB, f"library/{last}")}
    images = {name: parsed(name) for name in bases(dockerfile, settings.build.arguments)}
    return [
        name for name, image in images.items()
        if image and not image.digest and (image.registry, image.repository) in local
    ]  # fmt: skip


def bases(dockerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """The images that a Dockerfile's stages begin with, its own stages left out."""
    values: dict[str, str] = {}
    stages: set[str] = set()
    found: list[str] = []
    for line in map(str.strip, dockerfile.splitlines()):
        if (arg := ARG.match(line)) and not found:
            values[arg[1]] = arguments.get(arg[1], arg[2])
        elif start := FROM.match(line):
            name = Template(start[1]).safe_substitute(values)
            if name.lower() not in stages:
                found.append(name)
            stages.add((start[2] or "").lower())
    return found


@contextmanager
def named_as_base(
    settings: Settings, tree: Tree, variables: BuildVariables, names: Sequence[str]
) -> Iterator[None]:
    """Give `names` to the commit's image, which is built first where the engine does not have it.

    Raises Failure where it cannot be built, or meanwhile another run took a name.
    """
    if not names:
        yield
        return
    seconds = settings.time_limits.docker
    image = str(ensure(settings, tree, variables))
    identifier = engine.image_id(image, seconds)
    for name in names:
        process.run(docker.tag(identifier, name), time_limit=seconds, setting="time_limits.docker")
        console.say(f"Tagged {image} as {name}, which the test image is built on.")
    yield
    if moved := [name for name in names if engine.image_id(name, seconds) != identifier]:
        raise Failure(
            f"The test image may be built on another image than {image}.",
            f"Another process changed what {' and '.join(moved)} names during the build.",
            "Run the same command again.",
        )
