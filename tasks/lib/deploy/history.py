"""Releases as history knows them: what is remembered of each, and which one is meant.

Of Secrets only names and keys are remembered: they stay in the cluster under their hashed names, so that a
rollback finds them.
"""

import base64
import datetime
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from tasks.lib.cluster.api import Json
from tasks.lib.deploy.events import Record, ReleaseResult
from tasks.lib.deploy.objects import Wanted
from tasks.lib.errors import Failure, UsageError
from tasks.lib.render.pods import containers_of, pod_specs

DAMAGED: Final = "damaged"


@dataclass(frozen=True)
class Release:
    """One release of the past."""

    number: int  # counts up from 1; 0 is what others had deployed before
    # Commit, branch, tag, build, who, began, seconds, phases, images, secrets and result, as texts.
    facts: dict[str, str]
    packed: str  # the rendered objects, compressed, in base64; empty where they were not kept whole
    parts: int = 1  # how many ConfigMaps it takes

    @property
    def title(self) -> str:
        """The release in words."""
        if not self.number:
            return f"release 0, the state {ReleaseResult.BEFORE}"
        return f"release {self.number}, commit {self.facts.get('commit', '?')}"

    @property
    def commit(self) -> str:
        """Its commit in short; others deployed release 0, and did not say of what."""
        return self.facts.get("commit", "?" if self.number else "none")[:7]

    @property
    def went_well(self) -> bool:
        """Whether it may be what somebody wants back: what was there before counts too."""
        return self.result in {ReleaseResult.DEPLOYED, ReleaseResult.BEFORE}

    @property
    def result(self) -> ReleaseResult:
        """How it ended; UNKNOWN where somebody changed that."""
        text = self.facts.get("result", "")
        return ReleaseResult(text) if text in set(ReleaseResult) else ReleaseResult.UNKNOWN

    @property
    def rolled_back_to(self) -> int | None:
        """The release that a failed deploy rolled back to by itself."""
        return int(self.facts["rolled_back_to"]) if "rolled_back_to" in self.facts else None

    @property
    def instead(self) -> str:
        """What to do where its objects cannot be applied again."""
        if not self.number:
            return "Deploy with what deployed here before."
        branch, commit = (self.facts.get(name) or "…" for name in ("branch", "commit"))
        return f"Deploy its commit instead: ./inv deploy --branch {branch} --commit {commit}"

    def objects(self) -> list[Json]:
        """The rendered objects, without Secrets; raises Failure where they are not kept, or not whole."""
        if not self.packed:
            raise Failure(
                f"The objects of release {self.number} are not kept.",
                self.facts.get("not_kept", "A ConfigMap with a part of them is missing."),
                self.instead,
            )
        try:
            unpacked: list[Json] = json.loads(gzip.decompress(base64.b64decode(self.packed)))
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise Failure(
                f"The objects of release {self.number} cannot be read: somebody changed what is kept.",
                str(error),
                self.instead,
            ) from error
        return unpacked


def facts(
    about: Mapping[str, str], record: Record, objects: Sequence[Wanted], seconds: float
) -> dict[str, str]:
    """What is remembered of a release, as texts; what is known about it otherwise comes first."""
    ended = datetime.datetime.now(datetime.UTC)
    began = ended - datetime.timedelta(seconds=seconds)
    return {
        "began": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": f"{seconds:.1f}",
        "phases": json.dumps({title: round(took, 1) for title, took in record.phases.items()}),
        "images": json.dumps(sorted(images(objects))),
        "secrets": json.dumps(secret_keys(objects)),
        "result": record.outcome.value,
        **({} if record.rolled_back_to is None else {"rolled_back_to": str(record.rolled_back_to)}),
        **about,
    }


def images(objects: Sequence[Wanted]) -> set[str]:
    """Every image that the objects run."""
    specs = [spec for w in objects for spec in pod_specs(w.body)]
    return {str(one["image"]) for spec in specs for _, one in containers_of(spec) if one.get("image")}


def secret_keys(objects: Sequence[Wanted]) -> list[Json]:
    """The Secrets among objects, without what they hold: name, namespace and keys."""
    return [
        {
            "name": w.ref.name,
            "namespace": w.ref.namespace,
            "keys": [*sorted(data if isinstance(data := w.body.get("data"), dict) else ())],
        }
        for w in objects
        if w.ref.kind == "Secret"
    ]


def pack(objects: Sequence[Wanted]) -> str:
    """Objects without Secrets, compressed, in base64; equal objects give equal texts."""
    kept = [w.body for w in objects if w.ref.kind != "Secret"]
    return base64.b64encode(gzip.compress(json.dumps(kept, default=str).encode(), mtime=0)).decode()


def is_good(past: Sequence[Release]) -> bool:
    """Whether the newest release went well, so that a deploy that changes nothing is that release again.

    One that finishes what a killed deploy had applied is news: nothing else tells what to roll back to.
    """
    return bool(past) and past[0].went_well


def last_good(past: Sequence[Release]) -> Release | None:
    """The newest release that went well, from releases that are sorted newest first."""
    return next((one for one in past if one.went_well), None)


def choose(past: Sequence[Release], number: int | None, environment: str) -> Release:
    """The release to roll back to: a number, or None for the last good one before the newest.

    Where the newest is a rollback, its target counts: rolling back twice does not undo the first.  Raises
    UsageError where there is no such release.
    """
    if number is not None:
        return find(past, number, environment)
    good = [one for one in past if one.went_well]
    present = past[0] if past else Release(0, {}, "")
    before = int(present.facts.get("back_to", present.number)) if present in good else present.number
    if found := next((one for one in good if one.number < before), None):
        return found
    raise _missing("that went well before the present one", past, environment)


def find(past: Sequence[Release], number: int, environment: str) -> Release:
    """Release `number`; raises UsageError where it is not kept."""
    if found := next((one for one in past if one.number == number), None):
        return found
    raise _missing(str(number), past, environment)


def _missing(which: str, past: Sequence[Release], environment: str) -> UsageError:
    return UsageError(
        f"There is no release {which}.",
        f"Kept: {', '.join(str(one.number) for one in past) or 'none'}.",
        f"./inv release.list --environment {environment}",
    )


class KeptSecret(msgspec.Struct):
    """What is kept of a Secret."""

    name: str
    keys: list[str]
    namespace: str | None = None


Natural = Annotated[int, msgspec.Meta(ge=0)]
# The facts that are JSON, and what they hold.
FORMS: Final[Mapping[str, Any]] = {
    "seconds": float,
    "back_to": Natural,
    "rolled_back_to": Natural,
    "phases": dict[str, float],
    "images": list[str],
    "secrets": list[KeptSecret],
}


def sound(facts: Mapping[str, str]) -> dict[str, str]:
    """The facts that can be read; `damaged` names those that cannot."""
    damaged = [name for name, text in facts.items() if name in FORMS and not _is_read(FORMS[name], text)]
    kept = {name: text for name, text in facts.items() if name not in damaged}
    return {**kept, DAMAGED: ", ".join(sorted(damaged))} if damaged else kept


def _is_read(form: Any, text: str) -> bool:
    try:
        msgspec.json.decode(text, type=form)
    except (ValueError, RecursionError):
        return False
    return True
