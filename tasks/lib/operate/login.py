"""How the application logs in to its database, from the environment's decrypted secrets."""

from dataclasses import dataclass
from typing import Final

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets import crypt
from tasks.lib.secrets.run import variables
from tasks.lib.settings.model import Environment, Settings

# As the application reads them.
HOST, USER, PASSWORD, DATABASE = KEYS = ("DB_HOST", "DB_USER", "DB_PASSWORD", "DB_NAME")
ENV_FILES: Final = ".env"


@dataclass(frozen=True)
class Login:
    """A database behind a Service of the cluster, and a user of it."""

    host: str
    user: str
    password: Secret
    database: str


def login(settings: Settings, environment: Environment) -> Login:
    """The application's login to its database.

    Raises:
        Failure: the env files cannot be decrypted, or have not all of it.

    """
    found = variables(crypt.decrypt_all(settings, environment, ENV_FILES), environment.name)
    for key in KEYS:
        if not found.get(key):
            raise Failure(
                f"The secrets of {environment.name} have no {key}.",
                "It is how the application logs in to its database.",
                f"./inv secrets.set {key} --environment {environment.name}",
            )
    texts = {key: value.decode() for key, value in found.items() if key in {HOST, USER, DATABASE}}
    return Login(texts[HOST], texts[USER], Secret(found[PASSWORD]), texts[DATABASE])
