"""Who encrypts: the key owner, who may be another than the deployer who decrypts."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from tasks.lib.settings.model import Settings


def as_encrypter(settings: "Settings") -> "Settings":
    """The settings with the key owner's credentials in the deployer's place, where settings name them."""
    google = settings.google
    if not google.encrypter_credentials_file:
        return settings
    return replace(settings, google=replace(google, credentials_file=google.encrypter_credentials_file))
