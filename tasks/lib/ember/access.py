"""The way to one bucket: its address, who asks, and how long an attempt may take."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tasks.lib.ember.checkpoints import Checkpoints, state_folder
from tasks.lib.errors import UsageError
from tasks.lib.google.credentials import Tokens, credentials
from tasks.lib.retry import Attempts

if TYPE_CHECKING:
    from tasks.lib.settings.model import Environment, Settings

LONGEST_PAUSE = 16.0


@dataclass
class Access:
    """How Cloud Storage is reached.

    Args:
        endpoint: its address, without a slash at the end.
        tokens: of who asks.
        attempt_limit: seconds for one attempt.
        limit: seconds for all attempts of one object.
        first_pause: seconds around which the pause before the second attempt lies; later ones are longer.
    """

    endpoint: str
    bucket: str
    tokens: Tokens
    attempt_limit: float
    limit: float
    ca_file: str
    checkpoints: Checkpoints
    first_pause: float = 0.25

    def headers(self) -> tuple[str, ...]:
        """The header that says who asks.

        Raises:
            Failure: no token could be had.

        """
        token = self.tokens()
        return (f"Authorization: Bearer {token}",) if token else ()

    def object_url(self, name: str) -> str:
        """The JSON API's address of an object."""
        return f"{self.objects_url()}/{quote(name, safe='')}"

    def objects_url(self) -> str:
        """The JSON API's address of the bucket's objects."""
        return f"{self.endpoint}/storage/v1/b/{self.bucket}/o"

    def upload_url(self) -> str:
        """The JSON API's address for uploads to the bucket."""
        return f"{self.endpoint}/upload/storage/v1/b/{self.bucket}/o"

    def public_url(self, name: str) -> str:
        """Where everybody can read an object of a public bucket."""
        return f"{self.endpoint}/{self.bucket}/{quote(name)}"

    def attempts(self, seconds: float = inf, most: float = inf) -> Attempts:
        """The attempts of one request; hundreds are refused at once, and must not come back so."""
        return Attempts(seconds, self.first_pause, LONGEST_PAUSE, most, spread=1)


def access(settings: "Settings", environment: "Environment", tokens: Tokens | None = None) -> Access:
    """The way to the bucket that holds an environment's Ember apps.

    `tokens` are those of this process where it has some already.

    Raises:
        UsageError: the certificate authorities that the settings name cannot be read.
        Failure: there are no credentials.

    """
    limits = settings.time_limits
    ca_file = _authorities(settings.google.ca_file)
    return Access(
        settings.google.storage.rstrip("/"),
        environment.buckets.archives,
        tokens or Tokens(credentials(settings.google)),
        limits.storage_attempt,
        limits.storage,
        ca_file,
        Checkpoints(state_folder()),
    )


def _authorities(named: str) -> str:
    """The file of certificate authorities to trust: the one that the settings name, else everybody's."""
    import certifi

    if not named:
        return certifi.where()
    try:
        Path(named).open("rb").close()
    except OSError as error:
        what = "The certificate authorities for Cloud Storage cannot be read."
        raise UsageError(what, str(error), "Check google.ca_file.") from error
    return named
