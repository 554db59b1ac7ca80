"""Secrets that the application puts into an address as they are, such as amqp://admin:PASSWORD@host."""

import re
from collections.abc import Collection

from tasks.lib.errors import Failure
from tasks.lib.redaction import Secret
from tasks.lib.secrets.expected import values
from tasks.lib.secrets.files import SecretFile

# # / and ? end what stands before the host, % begins an escape, [ and ] make the host invalid.
FIT = re.compile(rb"[ -~]*")
UNFIT = re.compile(rb"[#%/?\[\]]")


def refuse_unfit(
    file: SecretFile, plaintext: Secret, keys: Collection[str], before: Secret | None = None
) -> None:
    """Refuse values of `keys` that an address would cut or change; what `before` has too is left alone.

    Raises Failure where there is such a value; its key is named.
    """
    known = values(file.name, before) if before else {}
    for key, held in values(file.name, plaintext).items():
        if key in keys and held != known.get(key) and not _fits(held.value.reveal()):
            raise Failure(
                f"The value of {held.shown} does not fit, so nothing was encrypted.",
                "The application puts it into an address as it is (guard.keys_in_addresses): "
                "# % / ? [ ] and what is not ASCII would break that.",
                f"openssl rand -hex 24 | ./inv secrets.set {held.shown} --environment {file.environment}",
            )


def _fits(value: bytes) -> bool:
    return bool(FIT.fullmatch(value)) and not UNFIT.search(value)
