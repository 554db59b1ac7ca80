"""The settings as types: one frozen class per section of invoke.yaml, which documents each value."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from tasks.lib.errors import UsageError
from tasks.lib.settings.deploy import Deploy
from tasks.lib.settings.ember import Ember
from tasks.lib.settings.values import Address, Label, Name, Options, Prefix, RelativePath, Seconds, Version


class Image(Struct, frozen=True, kw_only=True):
    """The application image."""

    repository: Name
    default_tag: Name


class Build(Struct, frozen=True, kw_only=True):
    """How the application's image is built."""

    file: Name
    platform: str
    network: str
    cache_from: str
    arguments: dict[str, str]
    secrets: dict[str, Name]


class Test(Struct, frozen=True, kw_only=True):
    """How the application's tests are run."""

    __test__ = False  # not a class of tests for pytest

    file: Name
    base_name: str
    command: Annotated[list[str], Meta(min_length=1)]
    database_image: Name
    database_alias: Name
    database_ready: Annotated[list[str], Meta(min_length=1)]
    database_environment: dict[str, str]
    environment: dict[str, str]


class Registry(Struct, frozen=True, kw_only=True):
    """How images are pushed and looked up."""

    record: Name
    plain_http: list[str]
    ca_file: str
    resolve: bool
    elsewhere: bool
    push_attempts: Annotated[int, Meta(ge=1, le=10)]

    def found_from(self, folder: Path) -> "Registry":
        """The same, with the path of the CA file resolved from `folder`."""
        return replace(self, ca_file=str(Path(folder, self.ca_file))) if self.ca_file else self


class Pipeline(Struct, frozen=True, kw_only=True):
    """How Cloud Build's files are run on this machine."""

    file: Name
    orchestrator: Name
    arguments: dict[str, str]
    secrets: list[str]
    network: Name
    location: Name
    mounts: list[str]
    substitutions: dict[str, str]
    artifacts: Name
    reports: Name


class Sentry(Struct, frozen=True, kw_only=True):
    """The Sentry project that releases are reported to."""

    organization: str
    project: str
    url: Annotated[str, Meta(pattern=r"^https?://")]


class Source(Struct, frozen=True, kw_only=True):
    """Where the application's commits come from."""

    repository: Name
    checkout: str


class Kms(Struct, frozen=True, kw_only=True):
    """Where the encryption keys are."""

    project: Name
    location: Name
    key_ring: Name

    def key_name(self, key: str) -> str:
        """The full resource name of `key`, a name in the key ring or a full resource name."""
        if key.startswith("projects/"):
            return key
        return f"projects/{self.project}/locations/{self.location}/keyRings/{self.key_ring}/cryptoKeys/{key}"


class Guard(Struct, frozen=True, kw_only=True):
    """What `secrets.check` looks for in committed files, and which values have to fit into an address."""

    open_keys: list[Name]
    keys_in_addresses: list[Name]


class Kustomize(Struct, frozen=True, kw_only=True):
    """The tree of manifests, and the program that renders it."""

    tree: Name
    kubectl: str
    options: Options
    kubernetes: Version


class Secrets(Struct, frozen=True, kw_only=True):
    """The encrypted files of one environment; none without a folder for them."""

    ciphertexts: str
    plaintexts: RelativePath
    files: dict[str, Name]
    release_key: str

    @property
    def encrypted(self) -> dict[str, str]:
        """The environment's encrypted files, each with its key."""
        return self.files if self.ciphertexts else {}

    @property
    def seals(self) -> bool:
        """Whether there may be a release key among the encrypted files."""
        return bool(self.ciphertexts and self.release_key)


class Buckets(Struct, frozen=True, kw_only=True):
    """The Cloud Storage buckets of one environment."""

    archives: Name
    private: str  # empty where there is none


class Database(Struct, frozen=True, kw_only=True):
    """The Cloud SQL instance of one environment."""

    # project:region:instance; the project may belong to a domain, example.com:project.
    instance: Annotated[str, Meta(pattern=r"^(([a-z0-9.-]+:)?[a-z0-9-]+:[a-z0-9-]+:[a-z][a-z0-9-]*)?\Z")]
    backup: bool

    @property
    def project(self) -> str:
        """The project of the instance."""
        return self.instance.rpartition(":")[0].rpartition(":")[0]

    @property
    def region(self) -> str:
        """The region of the instance."""
        return self.instance.split(":")[-2] if self.instance else ""

    @property
    def name(self) -> str:
        """The short name of the instance."""
        return self.instance.rpartition(":")[2]


class Environment(Struct, frozen=True, kw_only=True):
    """One place that Lookit runs in: a branch, its cluster, secrets, bucket and database."""

    name: Name
    branch: Name
    project: Name
    zone: Name
    cluster: Name
    namespace: Label
    prefix: Prefix
    host: Name
    overlay: RelativePath
    secrets: Secrets
    buckets: Buckets
    database: Database

    @property
    def cluster_name(self) -> str:
        """The cluster's full resource name in the GKE API."""
        return f"projects/{self.project}/locations/{self.zone}/clusters/{self.cluster}"


class Supported(Struct, frozen=True, kw_only=True):
    """The versions of Kubernetes that a version of an add-on supports."""

    oldest: Version
    newest: Version


class AddOn(Struct, frozen=True, kw_only=True):
    """What the manifests need in a cluster beside themselves."""

    version: Annotated[
        str, Meta(pattern=r"^\d+\.\d+\.\d+\Z", description="a version such as 1.21.2, without v")
    ]
    namespace: Label
    manifest: Annotated[str, Meta(pattern=r"^https?://")]
    sha256: Annotated[
        str, Meta(pattern=r"^([0-9a-f]{64})?\Z", description="64 hexadecimal digits, or nothing")
    ]
    kubernetes: Supported
    minor_by_minor: bool
    addresses: dict[str, str]

    @property
    def address(self) -> str:
        """Where its manifest lies."""
        return self.manifest.replace("{version}", self.version)


class Google(Struct, frozen=True, kw_only=True):
    """How Google's services are reached."""

    credentials_file: str
    encrypter_credentials_file: str
    quota_project: str
    ca_file: str
    kms: Name
    container: Address
    secret_manager: Address
    sql_admin: Address
    storage: Address

    def found_from(self, folder: Path) -> "Google":
        """The same, with the paths of files resolved from `folder`."""
        files = ("credentials_file", "encrypter_credentials_file", "ca_file")
        named = {name: path for name in files if (path := getattr(self, name))}
        return replace(self, **{name: str(Path(folder, path)) for name, path in named.items()})


class Sandbox(Struct, frozen=True, kw_only=True):
    """The stand-in for Google Cloud on this machine."""

    state: Name
    account: Name
    etcd_quota_bytes: Annotated[int, Meta(ge=1)]
    registry: str


class TimeLimits(Struct, frozen=True, kw_only=True):
    """Every time-out, in seconds."""

    kms_attempt: Seconds
    kms: Seconds
    addons: Seconds
    container_attempt: Seconds
    container: Seconds
    kubernetes_attempt: Seconds
    kubernetes: Seconds
    lock: Seconds
    backup_attempt: Seconds
    backup: Seconds
    render: Seconds
    registry_attempt: Seconds
    registry: Seconds
    docker: Seconds
    image_build: Seconds
    image_push: Seconds
    database_ready: Seconds
    test: Seconds
    sentry: Seconds
    storage_attempt: Seconds
    storage: Seconds
    upload: Seconds
    job: Seconds
    rollout: Seconds
    scheduling: Seconds
    hook: Seconds
    webhook: Seconds
    rollback: Seconds
    deploy: Seconds
    sandbox: Seconds


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of one run, read once."""

    root: Path
    image: Image
    source: Source
    kms: Kms
    guard: Guard
    kustomize: Kustomize
    environments: Annotated[dict[str, Environment], Meta(min_length=1)]
    addons: dict[Label, AddOn]
    google: Google
    build: Build
    test: Test
    registry: Registry
    pipeline: Pipeline
    sentry: Sentry
    deploy: Deploy
    sandbox: Sandbox
    ember: Ember
    time_limits: TimeLimits

    @property
    def tree(self) -> Path:
        """The checked-in kustomize tree."""
        return self.root / self.kustomize.tree

    def environment(self, name: str) -> Environment:
        """The environment called `name`.

        Raises UsageError where it does not exist; the message names those that do.
        """
        if name in self.environments:
            return self.environments[name]
        asked = f"There is no environment {name!r}." if name else "No environment was named."
        first = next(iter(self.environments))
        known = f"Known environments: {', '.join(self.environments)}."
        raise UsageError(asked, known, f"Name one, for example --environment {first}.")

    def chosen_addons(self, names: Sequence[str]) -> list[str]:
        """The add-ons called `names`; all for none.

        Raises UsageError where one does not exist; the message names those that do.
        """
        for name in names:
            if name not in self.addons:
                known = f"Known add-ons: {', '.join(self.addons) or 'none'}."
                raise UsageError(f"There is no add-on {name!r}.", known, "addons in invoke.yaml lists them.")
        return list(names or self.addons)

    def environment_of_branch(self, branch: str) -> Environment:
        """The environment that `branch` deploys to.

        Raises UsageError where no environment has that branch; the message names the known ones.
        """
        for environment in self.environments.values():
            if environment.branch == branch:
                return environment
        known = ", ".join(f"{e.branch} → {name}" for name, e in self.environments.items())
        asked = f"No environment deploys branch {branch!r}." if branch else "No branch was named."
        first = next(iter(self.environments.values())).branch
        raise UsageError(asked, f"Known branches: {known}.", f"Name one, for example --branch {first}.")
