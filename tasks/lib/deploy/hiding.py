"""Which secret values a deploy knows, and blanking them out of all that it tells."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tasks.lib.deploy.progress import Decided, Event, LogLine, Notice, Tell, Told
from tasks.lib.errors import Failure
from tasks.lib.printable import clipped
from tasks.lib.redaction import Secret, forms, mask

if TYPE_CHECKING:
    from tasks.lib.cluster.api import Json
    from tasks.lib.render.documents import Document

# A service account's token names its namespace, which half of what is told names too.
NAMESPACE_OF_TOKEN: Final = ("kubernetes.io/service-account-token", "namespace")


def values_to_mask(documents: "list[Document]", secrets: Mapping[str, Secret]) -> list[str]:
    """Every secret value that a log might carry, those of rendered Secrets too, in every form."""
    found = [secret.reveal().decode(errors="replace").strip() for secret in secrets.values()]
    rendered = [dict(document.content) for document in documents if document.content.get("kind") == "Secret"]
    return sorted({*forms(found), *values_of(rendered)}, key=len, reverse=True)


def values_of(secrets: "Sequence[Json]") -> list[str]:
    """The decoded values of Secret objects, in every form that a log might carry."""
    import base64

    found = [str(value) for secret in secrets for value in (secret.get("stringData") or {}).values()]
    encoded = [
        value
        for secret in secrets
        for key, value in (secret.get("data") or {}).items()
        if (secret.get("type"), key) != NAMESPACE_OF_TOKEN
    ]
    return forms(found + [base64.b64decode(value).decode(errors="replace").strip() for value in encoded])


def learn(values: list[str], secrets: "Sequence[Json]") -> None:
    """Add to `values` what live Secrets hold: a pod of an earlier release may log what was rotated since."""
    values.extend(sorted({*values_of(secrets)} - {*values}))


def masked(tell: Tell, values: list[str]) -> Tell:
    """`tell`, with secret values blanked out of whatever comes from the cluster; `values` may still grow."""
    from tasks.lib.deploy.planning import blanked

    def tell_masked(event: Event) -> None:
        match event:
            case LogLine(pod, line):
                tell(LogLine(pod, mask(line, values)))
            case Told(ref, text):
                tell(Told(ref, mask(text, values)))
            case Notice(text):
                tell(Notice(mask(text, values)))
            case Decided(shown):
                tell(Decided(blanked(shown, values)))
            case _:
                tell(event)

    return tell_masked


@contextmanager
def masked_failures(values: list[str]) -> Iterator[None]:
    """Blank secret values out of failures from within, which quote logs of containers; shorten long lines.

    Args:
        values: the secret values, those that were learnt until the failure came among them.

    """
    try:
        yield
    except Failure as failure:
        failure.what, failure.why = mask(failure.what, values), _clipped(mask(failure.why, values))
        failure.args = (failure.what,)
        raise


def _clipped(text: str) -> str:
    return "\n".join(map(clipped, text.splitlines()))
