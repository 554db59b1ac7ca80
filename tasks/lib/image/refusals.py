"""What a registry's refusals mean, and what to do about each."""

from typing import TYPE_CHECKING

from tasks.lib.errors import Failure
from tasks.lib.image.reference import Reference
from tasks.lib.retry import TEMPORARY, retry_after

if TYPE_CHECKING:
    from requests import Response

TOO_MANY = 429
NOBODY = ("Connection refused", "Name or service not known")
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
ANOTHER_NAME = ("certificate is not valid for", "doesn't match")
EXPIRED = "certificate has expired"
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # OpenSSL's words before and since 3.2
# In the words of Artifact Registry, Amazon's and Harbor, each with another status.
IMMUTABLE = "immutab"
AGAIN = "then run this again."


def failed(method: str, answer: "Response", image: Reference) -> Failure:
    """The error for an answer that ends the matter, with the registry's own words."""
    words = _words(answer)
    return Failure(
        f"{method} of {image} was refused.",
        f"The registry answered {answer.status_code} {answer.reason}: {words}",
        _next_step(method, answer, image, words),
    )


def _next_step(method: str, answer: "Response", image: Reference, words: str) -> str:
    status = answer.status_code
    if is_immutable(words):
        return choose_another_tag(image)
    if status == TOO_MANY:
        return (
            f"Run the same command again {_later(answer)}, or raise time_limits.registry in invoke.yaml; "
            f"who is logged in may ask more often: docker login {image.registry}"
        )
    if status in TEMPORARY:
        return (
            "It was tried again for all of time_limits.registry. See the registry's log, then run this again."
        )
    if method == "DELETE" and (status == 405 or "UNSUPPORTED" in words):
        return (
            f"Have {image.registry} allow deletion (docker-registry: REGISTRY_STORAGE_DELETE_ENABLED=true), "
            f"{AGAIN}"
        )
    return _access(method, image) if status in {401, 403} else ""


def _access(method: str, image: Reference) -> str:
    """Which role is missing."""
    if method == "DELETE":
        return f"Ask for roles/artifactregistry.repoAdmin on {image.name} (a writer cannot delete), {AGAIN}"
    return (
        f"Log in (`docker login {image.registry}`, or `gcloud auth application-default login`), and see "
        f"that you may reach {image.name} (roles/artifactregistry.reader, or .writer to push)."
    )


def is_immutable(words: str) -> bool:
    """Whether a registry says that a tag never changes: asking again is no use."""
    return IMMUTABLE in words.lower()


def choose_another_tag(image: Reference) -> str:
    """What to do about a tag that never changes."""
    return (
        f"Tags of {image.name} never change: choose another tag, or see what this one holds: "
        f"./inv images.list --repository {image.name}"
    )


def _later(answer: "Response") -> str:
    seconds = retry_after(answer.headers.get("Retry-After"))
    return f"in {seconds:.0f} s, as it asks" if seconds else "later"


def is_lasting(words: str) -> bool:
    """Whether nobody listens at the address, or not with TLS that is trusted: waiting seldom helps."""
    return any(sign in words for sign in (*NOBODY, UNTRUSTED, *NO_TLS))


def when_unreachable(address: str, words: str) -> str:
    """What to do about a registry that cannot be reached."""
    host = address.partition("://")[2]
    if any(sign in words for sign in ANOTHER_NAME):
        return (
            f"Name the registry as its certificate does: openssl s_client -connect {host} </dev/null | "
            "openssl x509 -noout -ext subjectAltName"
        )
    if EXPIRED in words:
        return "Have its certificate renewed; check this machine's clock too: date"
    if UNTRUSTED in words:
        return (
            "If you trust who signed its certificate: export INVOKE_REGISTRY_CA_FILE=FILE (registry.ca_file)"
        )
    if any(sign in words for sign in NO_TLS):
        return f"If it is meant to speak without TLS, name {host} in registry.plain_http."
    first = "that it runs" if address.startswith("http://") else "the network, a proxy or VPN"
    return f"Check {first}, and that image.repository in invoke.yaml names it rightly."


def _words(answer: "Response") -> str:
    """The messages in an error answer, else its first 200 characters."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.text[:200]
