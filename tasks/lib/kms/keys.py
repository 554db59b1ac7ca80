"""Names of keys, and the gcloud commands that concern one."""

import re
import shlex
from dataclasses import dataclass

KEY_NAME = re.compile(
    r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
    r"/keyRings/(?P<ring>[^/]+)/cryptoKeys/(?P<key>[^/]+)(/cryptoKeyVersions/(?P<version>[^/]+))?"
)


@dataclass(frozen=True)
class Key:
    """A key's name in its parts; `version` is empty for the key as a whole."""

    project: str
    location: str
    ring: str
    key: str
    version: str = ""

    @property
    def full(self) -> str:
        """The key's full name, without a version."""
        place = f"projects/{self.project}/locations/{self.location}"
        return f"{place}/keyRings/{self.ring}/cryptoKeys/{self.key}"

    def gcloud(self, *words: str) -> str:
        """A `gcloud kms keys …` command about this key, ready to paste."""
        where = ("--keyring", self.ring, "--location", self.location, "--project", self.project)
        return shlex.join(("gcloud", "kms", "keys", *words, *where))


def parse(name: str) -> Key | None:
    """Take a key's, or a key version's, full name apart; None when it is no such name."""
    match = KEY_NAME.fullmatch(name)
    return Key(**{part: value or "" for part, value in match.groupdict().items()}) if match else None


def short(name: str) -> str:
    """The last part of a key's name, the one people use."""
    found = parse(name)
    return found.key if found else name
