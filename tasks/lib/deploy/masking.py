"""What a deploy tells, without secret values."""

from typing import TYPE_CHECKING

from tasks.lib.deploy.events import Decided, Event, LogLine, Notice, Tell, Told
from tasks.lib.deploy.plan.document import blanked
from tasks.lib.secrets import sensitive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.lib.cluster.api import Json
    from tasks.lib.redaction import Redactor


def learn(redactor: "Redactor", secrets: "Sequence[Json]") -> None:
    """Take out what Secrets of the cluster hold too: pods of an earlier release may log what was rotated."""
    redactor.learn(sensitive.in_objects(secrets, redactor.public))


def masked(tell: Tell, redactor: "Redactor") -> Tell:
    """`tell`, with secret values taken out of whatever comes from the cluster."""

    def tell_masked(event: Event) -> None:
        match event:
            case LogLine(pod, line):
                tell(LogLine(pod, redactor.line(line)))
            case Told(ref, text):
                tell(Told(ref, redactor.line(text)))
            case Notice(text):
                tell(Notice(redactor.line(text)))
            case Decided(plan):
                tell(Decided(blanked(plan, redactor)))
            case _:
                tell(event)

    return tell_masked
