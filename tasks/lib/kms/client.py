"""The client: one channel, checksums in both directions, time-outs and safe retries.

Every request states the checksum of what it carries and every answer is checked, as Cloud KMS's guidelines
on data integrity ask.  What the answers mean is the diagnosis's matter.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.lib import background, console, signals
from tasks.lib.credentials import Tokens
from tasks.lib.errors import Failure
from tasks.lib.kms.diagnosis import Call, ChecksumMismatch, Fault, Undecided, damaged, explain
from tasks.lib.kms.messages import messages
from tasks.lib.redaction import Secret

if TYPE_CHECKING:
    import grpc
    from google.auth.credentials import Credentials

    from tasks.lib.settings.model import Settings

SERVICE = "/google.cloud.kms.v1.KeyManagementService/"
# Carried out twice, it makes two versions.
NEVER_REPEATED = frozenset({"CreateCryptoKeyVersion"})
# What these answer with; all others have a message of their own.
ANSWERS = {
    "GetCryptoKey": "CryptoKey",
    "CreateCryptoKeyVersion": "CryptoKeyVersion",
    "UpdateCryptoKeyPrimaryVersion": "CryptoKey",
}
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# gRPC itself waits up to two minutes before it tries a broken connection again.
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
# Tells what is wrong with an answer to a request; nothing if all is well.
Check = Callable[[Any, Any], str]
LOOPBACK = ("localhost:", "127.0.0.1:", "[::1]:")


@dataclass(frozen=True)
class Sealed:
    """What encrypting gave: the ciphertext, and the full name of the key version that made it."""

    ciphertext: bytes
    version: str


@dataclass(frozen=True)
class Opened:
    """What decrypting gave, and whether the key's primary version had encrypted it."""

    plaintext: Secret
    used_primary: bool


@dataclass(frozen=True)
class Limits:
    """Seconds for one attempt, and for all attempts of a call together."""

    attempt: float
    total: float


class Kms:
    """Cloud KMS through one channel that any number of threads may share."""

    def __init__(
        self, host: str, channel: "grpc.Channel", limits: Limits, identity: "Identity", caller: str = "",
        home: str = "",
    ) -> None:  # fmt: skip
        self._host = host
        self._channel = channel
        self._identity = identity
        self._limits = limits
        self._caller = caller
        self._home = home
        self._closed = signals.Event()
        self._announced = False

    def encrypt(self, key: str, plaintext: Secret, additional: bytes = b"") -> Sealed:
        """Encrypt up to 64 KiB.

        Args:
            key: the full name of a key, or of one of its versions.
            plaintext: what to encrypt.
            additional: data to bind the ciphertext to; decrypting needs the same.

        Raises:
            Failure: KMS cannot be reached, refuses, or bytes are damaged on the way.

        """
        request = messages().EncryptRequest(
            name=key, plaintext=plaintext.reveal(), plaintext_crc32c=_crc32c(plaintext.reveal()),
            **_bound_to(additional),
        )  # fmt: skip
        answer = self._call("Encrypt", "encrypt with", key, request, _fault_in_encryption)
        return Sealed(answer.ciphertext, answer.name)

    def decrypt(self, key: str, ciphertext: bytes, additional: bytes = b"") -> Opened:
        """Decrypt what `encrypt`, or `gcloud kms encrypt`, made.

        Args:
            key: the full name of the key, without a version: the ciphertext knows it.
            ciphertext: what to decrypt.
            additional: the data that it was bound to.

        Raises:
            Failure: KMS cannot be reached, refuses, or bytes are damaged on the way.

        """
        request = messages().DecryptRequest(
            name=key, ciphertext=ciphertext, ciphertext_crc32c=_crc32c(ciphertext),
            **_bound_to(additional),
        )  # fmt: skip
        answer = self._call("Decrypt", "decrypt with", key, request, _fault_in_decryption)
        return Opened(Secret(answer.plaintext), answer.used_primary)

    def administer(self, rpc: str, verb: str, key: str, request: Any) -> Any:
        """Make any other call of the service; see tasks/lib/kms/administration.py."""
        return self._call(rpc, verb, key, request, lambda _request, _answer: "")

    def close(self) -> None:
        """End the channel; calls under way in other threads end at once."""
        self._closed.set()
        self._channel.close()

    def _call(self, rpc: str, verb: str, key: str, request: Any, check: Check) -> Any:
        """Make one call, again while that is worth it and time is left."""
        call = Call(verb, key, self._host, self._caller, self._home)
        deadline = time.monotonic() + self._limits.total
        attempt = 0
        fault: _Passing | None = None
        while True:
            try:
                return self._attempt(rpc, call, request, check, deadline)
            except _Passing as latest:
                fault = fault if fault and latest.was_cut_short else latest
                attempt += 1
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1)  # noqa: S311
                if rpc in NEVER_REPEATED or time.monotonic() + pause >= deadline or self._closed.is_set():
                    raise fault.failure from fault.__cause__
                self._announce(fault.failure, deadline)
                self._closed.wait(pause)

    def _attempt(self, rpc: str, call: Call, request: Any, check: Check, deadline: float) -> Any:
        import grpc

        stub = self._channel.unary_unary(
            SERVICE + rpc, type(request).serialize, getattr(messages(), _answer_of(rpc)).deserialize
        )
        time_limit = max(0.001, min(self._limits.attempt, deadline - time.monotonic()))
        field = "parent" if hasattr(request, "parent") else "name"
        metadata = (("x-goog-request-params", f"{field}={call.key}"), *self._identity.headers())
        try:
            answer = background.call(stub, request, timeout=time_limit, metadata=metadata)
        except grpc.RpcError as error:
            fault = _fault(error)
            if "The checksum in field" in fault.message:
                raise _Passing(damaged(call, fault.message)) from error
            if fault.is_passing:
                was_cut_short = fault.code == "DEADLINE_EXCEEDED" and time_limit < self._limits.attempt
                raise _Passing(explain(call, fault), was_cut_short) from error
            raise explain(call, fault) from error
        except ValueError as error:  # what gRPC says of a channel that was closed before
            if not self._closed.is_set():
                raise
            raise explain(call, Fault("CANCELLED", str(error))) from error
        if wrong := check(request, answer):
            raise _Passing(damaged(call, wrong))
        return answer

    def _announce(self, failure: Failure, deadline: float) -> None:
        """Say once that there is trouble: a silent wait at 2 a.m. is worse than the trouble."""
        if not self._announced:
            self._announced = True
            left = deadline - time.monotonic()
            console.say(f"{failure.what} Trying again for up to {left:.0f} s.")


class _Passing(Exception):  # noqa: N818 - says what kind of fault it is
    """A fault that may be gone at the next attempt, with the error to show if it is not.

    One that was cut short, because the time for all attempts was over, says less than the fault before it.
    """

    def __init__(self, failure: Failure, was_cut_short: bool = False) -> None:
        super().__init__(failure.what)
        self.failure = failure
        self.was_cut_short = was_cut_short


@contextmanager
def connected(settings: "Settings") -> Iterator[Kms]:
    """A client for the KMS that settings name; its channel is closed when the block ends.

    Raises:
        Failure: there are no credentials, or Google does not accept them.

    """
    # gRPC's own account of a failed connection would come before ours, and says less.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tasks.lib.credentials import credentials

    found = credentials(settings.google)
    limits = Limits(settings.time_limits.kms_attempt, settings.time_limits.kms)
    identity = Identity(found, limits.attempt)
    signing_in = background.Background(identity.sign_in)
    home = next((environment.project for environment in settings.environments.values()), "")
    channel = background.call(_channel, settings)  # gRPC takes long to load
    kms = Kms(settings.google.kms, channel, limits, identity, _member(found), home)
    try:
        signing_in.wait()
        yield kms
    finally:
        kms.close()


class Identity:
    """Who calls, as headers of each call.

    google-auth's own way there, `before_request`, also asks iamcredentials.googleapis.com where the account
    may be used from, in a thread: of the sandbox's accounts too.  A process that ends while that thread opens
    its connection crashes now and then, after its work is done.
    """

    def __init__(self, found: "Credentials", seconds: float) -> None:
        self._found, self._tokens = found, Tokens(found, seconds)

    def sign_in(self) -> None:
        """Fetch the token now, once for all calls, where a refusal can be told from KMS's own.

        Raises:
            Failure: Google refuses, or cannot be reached.

        """
        self.headers()

    def headers(self) -> list[tuple[str, str]]:
        """What a call says of its caller, with a token valid now.

        Raises:
            Failure: Google refuses to give one, or cannot be reached.

        """
        named: dict[str, str] = {}
        try:
            self._tokens()
        except Failure as failure:
            raise Undecided(failure.what, failure.why, failure.next_step) from failure
        self._found.apply(named)
        return [(name.lower(), value) for name, value in named.items()]


def _channel(settings: "Settings") -> "grpc.Channel":
    """A channel to the KMS, and what its calls need loaded: enough to do while the token is on its way."""
    import grpc

    messages()
    host = settings.google.kms
    trusted = _authorities(settings)
    channel: grpc.Channel = grpc.secure_channel(_target(host), trusted, _options(host))
    return channel


def _target(host: str) -> str:
    return host if ":" in host else f"{host}:443"


def _options(host: str) -> tuple[tuple[str, int], ...]:
    """The channel's options; a proxy is never asked for what runs on this machine."""
    return (*RECONNECT, ("grpc.enable_http_proxy", 0)) if host.startswith(LOOPBACK) else RECONNECT


def _authorities(settings: "Settings") -> Any:
    """The certificate authorities to trust."""
    import grpc

    if not settings.google.ca_file:
        return grpc.ssl_channel_credentials()
    try:
        return grpc.ssl_channel_credentials(Path(settings.google.ca_file).read_bytes())
    except OSError as error:
        raise Failure(
            "The certificate authorities for Cloud KMS cannot be read.", str(error), "Check google.ca_file."
        ) from error


def _member(found: "Credentials") -> str:
    """The caller as IAM spells members; a person's address is known only where gcloud has noted it."""
    email = getattr(found, "service_account_email", "") or ""
    account = getattr(found, "account", "") or ""
    return f"serviceAccount:{email}" if "@" in email else f"user:{account}" if "@" in account else ""


def _fault(error: Any) -> Fault:
    """The status that a failed call ended with."""
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    read: Any = rpc_status.from_call
    status = read(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return Fault(error.code().name, error.details(), info.reason, dict(info.metadata))
    return Fault(error.code().name, error.details() or "")


def _answer_of(rpc: str) -> str:
    return ANSWERS.get(rpc, f"{rpc}Response")


def _bound_to(additional: bytes) -> dict[str, Any]:
    """The request's fields for additional data; none where there is none."""
    if not additional:
        return {}
    checksum = _crc32c(additional)
    return {
        "additional_authenticated_data": additional,
        "additional_authenticated_data_crc32c": checksum,
    }


def _fault_in_encryption(request: Any, answer: Any) -> str:
    """What is wrong with an answer to Encrypt; nothing if all is well."""
    is_bound = bool(request.additional_authenticated_data)
    confirmed = [answer.verified_plaintext_crc32c]
    confirmed += [answer.verified_additional_authenticated_data_crc32c] if is_bound else []
    if not all(confirmed):
        return "KMS did not confirm the checksum of what it was sent"
    if answer.ciphertext_crc32c != _crc32c(answer.ciphertext):
        return "The ciphertext that came back does not match its checksum"
    if request.name not in {answer.name, answer.name.split("/cryptoKeyVersions/", maxsplit=1)[0]}:
        return f"KMS answered for {answer.name} instead of {request.name}"
    return ""


def _fault_in_decryption(_request: Any, answer: Any) -> str:
    """What is wrong with an answer to Decrypt; nothing if all is well."""
    if answer.plaintext_crc32c != _crc32c(answer.plaintext):
        return "The plaintext that came back does not match its checksum"
    return ""


def _crc32c(data: bytes) -> int:
    import google_crc32c

    return int(google_crc32c.value(data))


__all__ = ["ChecksumMismatch", "Kms", "Opened", "Sealed", "connected"]
