"""The settings of building, testing and pushing the application's image."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from tasks.lib.settings.values import Name


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

    __test__ = False  # pytest collects what is called Test…

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
        """The same with the path of the authorities' file, which starts from `folder`, in full."""
        return replace(self, ca_file=str(Path(folder, self.ca_file))) if self.ca_file else self
