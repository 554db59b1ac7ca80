"""One client of Cloud KMS, for Google and for the sandbox, that any number of threads share.

Every request states the checksum of what it carries and every answer is checked.  errors.py says what an
error means, and which may be tried again.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks.lib import background, console
from tasks.lib.errors import Failure
from tasks.lib.google.credentials import Tokens
from tasks.lib.kms.errors import (
    Call,
    NotPermitted,
    Problem,
    Undecided,
    damaged,
    explain,
    may_succeed_later,
    most_telling,
    not_yet_primary,
    problem_of,
)
from tasks.lib.redaction import Secret
from tasks.lib.settings.model import Settings, TimeLimits

if TYPE_CHECKING:
    import grpc
    from google.auth.credentials import Credentials
    from google.cloud.kms_v1 import KeyManagementServiceClient

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# gRPC itself waits up to two minutes before it tries a broken connection again.
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
LOOPBACK = ("localhost:", "127.0.0.1:", "[::1]:")
# A method of Google's client, ready but for retry, timeout and metadata.
Method = Callable[..., Any]


@dataclass(frozen=True)
class Opened:
    """What decrypting gave, and whether the key's primary version had encrypted it."""

    plaintext: Secret
    used_primary: bool


class Kms:
    """Google's client with the caller's token, checksums, time limits and retries.

    Keys have their full names.  `about` describes a call for its errors, from a verb and a key.

    Every method raises a Failure where KMS cannot be reached, refuses, or bytes are damaged on the way.
    """

    def __init__(
        self, client: "KeyManagementServiceClient", tokens: Tokens, limits: TimeLimits,
        about: Callable[[str, str], Call],
    ) -> None:  # fmt: skip
        self._client = client
        self._tokens = tokens
        self._limits = limits
        self._about = about
        self._closed = False
        self._announced = False

    def encrypt(self, key: str, plaintext: Secret, additional: bytes = b"") -> bytes:
        """Encrypt up to 64 KiB with a key or one version of it; decrypting needs the same `additional`."""
        content = {"plaintext": plaintext.reveal(), "plaintext_crc32c": crc32c(plaintext.reveal())}
        request = {"name": key, **content, **bound_to(additional)}
        method = partial(self._client.encrypt, request=request)
        answer = self._call("encrypt with", key, method, partial(damage_in_encryption, request))
        return bytes(answer.ciphertext)

    def decrypt(self, key: str, ciphertext: bytes, additional: bytes = b"") -> Opened:
        """Decrypt what `encrypt`, or `gcloud kms encrypt`, made; the ciphertext knows the key's version."""
        content = {"ciphertext": ciphertext, "ciphertext_crc32c": crc32c(ciphertext)}
        request = {"name": key, **content, **bound_to(additional)}
        method = partial(self._client.decrypt, request=request)
        answer = self._call("decrypt with", key, method, damage_in_decryption)
        return Opened(Secret(answer.plaintext), answer.used_primary)

    def primary_version(self, key: str) -> str:
        """The full name of the version that encrypts now; empty for a caller who may not see it."""
        try:
            answer = self._call("look at", key, partial(self._client.get_crypto_key, name=key))
        except NotPermitted:
            return ""
        return str(answer.primary.name)

    def replaced_versions(self, key: str) -> list[str]:
        """The numbers of the versions that can decrypt and no longer encrypt, oldest first."""
        primary = self._call("look at", key, partial(self._client.get_crypto_key, name=key)).primary.name
        listed = partial(self._client.list_crypto_key_versions, parent=key)
        found = self._call("list the versions of", key, lambda **how: list(listed(**how)))
        names = [one.name for one in found if one.state.name == "ENABLED" and one.name != primary]
        return sorted((name.rsplit("/", 1)[1] for name in names), key=int)

    def add_primary_version(self, key: str) -> str:
        """Make a new version of a key and let it encrypt from now on; return its full name.

        Where it was made and could not be made the primary one, the Failure says how to do that.
        """
        request = {"parent": key, "crypto_key_version": {}}
        create = partial(self._client.create_crypto_key_version, request=request)
        # Made twice, there would be two versions.
        made = self._call("make a version of", key, create, may_pass=lambda _: False)
        number = made.name.rsplit("/", 1)[1]
        choose = partial(
            self._client.update_crypto_key_primary_version, name=key, crypto_key_version_id=number
        )
        try:
            self._call("choose the primary version of", key, choose)
        except Failure as failure:
            raise not_yet_primary(key, number, failure) from failure
        return str(made.name)

    def close(self) -> None:
        """End the connection; calls under way in other threads end."""
        self._closed = True
        self._client.transport.close()

    def _call(
        self,
        verb: str,
        key: str,
        method: Method,
        damage: Callable[[Any], str] = lambda _: "",
        may_pass: Callable[[Exception], bool] = may_succeed_later,
    ) -> Any:
        """Make one call, again while that is worth it and time is left."""
        from google.api_core import retry
        from google.api_core.exceptions import GoogleAPICallError

        call = self._about(verb, key)
        deadline = time.monotonic() + self._limits.kms
        try:
            return background.call(
                retry.retry_target,
                partial(self._attempt, call, method, damage, deadline),
                may_pass,
                retry.exponential_sleep_generator(FIRST_PAUSE, LONGEST_PAUSE),
                timeout=self._limits.kms,
                on_error=partial(self._announce, call, deadline),
                exception_factory=most_telling,
            )
        except GoogleAPICallError as error:
            raise explain(call, problem_of(error)) from error

    def _attempt(self, call: Call, method: Method, damage: Callable[[Any], str], deadline: float) -> Any:
        left = max(0.001, min(self._limits.kms_attempt, deadline - time.monotonic()))
        try:
            answer = method(retry=None, timeout=left, metadata=self._headers())
        except ValueError as error:  # what gRPC says of a channel that was closed before
            if not self._closed:
                raise
            raise explain(call, Problem("CANCELLED", str(error))) from error
        if said := damage(answer):
            raise damaged(call, said)
        return answer

    def _headers(self) -> list[tuple[str, str]]:
        """Who calls, as headers: google-auth's plugin of gRPC would log a problem as a traceback."""
        try:
            return list(self._tokens.headers().items())
        except Failure as failure:
            raise Undecided(failure.what, failure.why, failure.next_step) from failure

    def _announce(self, call: Call, deadline: float, error: Exception) -> None:
        """Say once that there is trouble: a silent wait at 2 a.m. is worse than the trouble."""
        if self._announced or self._closed:
            return
        self._announced = True
        failure = error if isinstance(error, Failure) else explain(call, problem_of(error))
        console.say(f"{failure.what} Trying again for up to {deadline - time.monotonic():.0f} s.")


@contextmanager
def connected(settings: Settings) -> Iterator[Kms]:
    """A client for the KMS that settings name; its connection is closed when the block ends.

    Raises Failure where there are no credentials, or Google does not accept them.
    """
    # gRPC's own account of a failed connection would come before ours, and says less.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tasks.lib.google.credentials import credentials

    found = credentials(settings.google)
    tokens = Tokens(found, settings.time_limits.kms_attempt)
    # The token is fetched while the libraries load, and a refusal is told before KMS is asked.
    signing_in = background.Background(tokens.headers)
    home = next((environment.project for environment in settings.environments.values()), "")
    about = partial(Call, host=settings.google.kms, caller=_member(found), home=home)
    kms = Kms(background.call(_client, settings), tokens, settings.time_limits, about)
    try:
        signing_in.wait()
        yield kms
    finally:
        kms.close()


def _client(settings: Settings) -> "KeyManagementServiceClient":
    """Google's client.  It logs no messages, which hold plaintext, whatever is set."""
    import logging

    from google.cloud.kms_v1 import KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service import transports

    transport = transports.KeyManagementServiceGrpcTransport
    logging.getLogger(transport.__module__).setLevel(logging.INFO)
    return KeyManagementServiceClient(transport=transport(channel=_channel(settings)))


def _channel(settings: Settings) -> "grpc.Channel":
    import grpc

    host, ca_file = settings.google.kms, settings.google.ca_file
    try:
        trusted = Path(ca_file).read_bytes() if ca_file else None  # gRPC's own list
    except OSError as error:
        raise Failure(
            "The certificate authorities for Cloud KMS cannot be read.", str(error), "Check google.ca_file."
        ) from error
    # A proxy is never asked for what runs on this machine.
    direct = (("grpc.enable_http_proxy", 0),) if host.startswith(LOOPBACK) else ()
    target = host if ":" in host else f"{host}:443"
    channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(trusted), (*RECONNECT, *direct))
    return cast("grpc.Channel", channel)


def _member(found: "Credentials") -> str:
    """The caller as IAM spells members; a person's address is known only where gcloud has noted it."""
    email = getattr(found, "service_account_email", "") or ""
    account = getattr(found, "account", "") or ""
    return f"serviceAccount:{email}" if "@" in email else f"user:{account}" if "@" in account else ""


def bound_to(additional: bytes) -> dict[str, Any]:
    """The request's fields for additional data; none where there is none."""
    if not additional:
        return {}
    field = "additional_authenticated_data"
    return {field: additional, f"{field}_crc32c": crc32c(additional)}


def damage_in_encryption(request: dict[str, Any], answer: Any) -> str:
    """What is wrong with an answer to Encrypt; empty if all is well."""
    confirmed = [answer.verified_plaintext_crc32c]
    if "additional_authenticated_data" in request:
        confirmed.append(answer.verified_additional_authenticated_data_crc32c)
    if not all(confirmed):
        return "KMS did not confirm the checksum of what it was sent"
    if answer.ciphertext_crc32c != crc32c(answer.ciphertext):
        return "The ciphertext that came back does not match its checksum"
    if request["name"] not in {answer.name, answer.name.split("/cryptoKeyVersions/", maxsplit=1)[0]}:
        return f"KMS answered for {answer.name} instead of {request['name']}"
    return ""


def damage_in_decryption(answer: Any) -> str:
    """What is wrong with an answer to Decrypt; empty if all is well."""
    if answer.plaintext_crc32c != crc32c(answer.plaintext):
        return "The plaintext that came back does not match its checksum"
    return ""


def crc32c(data: bytes) -> int:
    """CRC-32C, as a number."""
    import google_crc32c

    return int(google_crc32c.value(data))
