"""What a key's owner does with its versions: see them, make one, make one the primary."""

from dataclasses import dataclass

from tasks.lib.errors import Failure
from tasks.lib.kms.client import Kms
from tasks.lib.kms.diagnosis import NotPermitted
from tasks.lib.kms.keys import parse, short
from tasks.lib.kms.messages import messages


@dataclass(frozen=True)
class Version:
    """A key version: its full name and its state, such as `ENABLED`."""

    name: str
    state: str

    @property
    def number(self) -> str:
        """The last part of its name."""
        return self.name.rsplit("/", 1)[1]


def primary_version(kms: Kms, key: str) -> str:
    """The full name of the version that encrypts now; empty for someone who may not see that.

    Raises:
        Failure: KMS cannot be reached, or refuses for another reason.

    """
    try:
        answer = kms.administer("GetCryptoKey", "look at", key, messages().GetCryptoKeyRequest(name=key))
    except NotPermitted:
        return ""
    return str(answer.primary.name)


def versions(kms: Kms, key: str) -> list[Version]:
    """All versions of a key, oldest first.

    Raises:
        Failure: KMS cannot be reached, or refuses.

    """
    found: list[Version] = []
    token = ""
    while True:
        request = messages().ListCryptoKeyVersionsRequest(parent=key, page_token=token)
        page = kms.administer("ListCryptoKeyVersions", "list the versions of", key, request)
        found += [Version(version.name, version.state.name) for version in page.crypto_key_versions]
        if not (token := page.next_page_token):
            return sorted(found, key=lambda version: int(version.number))


def add_primary_version(kms: Kms, key: str) -> str:
    """Make a new version of a key and let it encrypt from now on; return its full name.

    Raises:
        Failure: KMS cannot be reached, or refuses; where the version is there but is not yet the primary one,
            it says how to make it so.

    """
    request = messages().CreateCryptoKeyVersionRequest(parent=key)
    made = kms.administer("CreateCryptoKeyVersion", "make a version of", key, request)
    number = made.name.rsplit("/", 1)[1]
    chosen = messages().UpdateCryptoKeyPrimaryVersionRequest(name=key, crypto_key_version_id=number)
    try:
        kms.administer("UpdateCryptoKeyPrimaryVersion", "choose the primary version of", key, chosen)
    except Failure as failure:
        raise _not_yet_primary(key, number, failure) from failure
    return str(made.name)


def _not_yet_primary(key: str, number: str, failure: Failure) -> Failure:
    name = parse(key)
    command = name.gcloud("set-primary-version", name.key, "--version", number) if name else "make it primary"
    return Failure(
        f"Version {number} of the key {short(key)} was made, but does not encrypt yet.",
        "\n".join(filter(None, (failure.what, failure.why))),
        f"The key's owner runs: {command}\nand then ./inv secrets.rotate, without --new-version.",
    )
