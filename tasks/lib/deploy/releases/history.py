"""What was deployed when, kept in the cluster: one ConfigMap a release, readable with kubectl.

Its `data` says commit, result, times and who; `objects` holds the rendered objects, compressed, without
Secrets: these stay in the cluster under their hashed names, so that a roll back finds them.  Of Secrets only
names and keys are kept.  A release too large for one ConfigMap goes into several (parts.py).
"""

import base64
import datetime
import gzip
import json
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tasks.lib.cluster.api import FIELD_MANAGER, Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.events import Notice, Record, ReleaseResult, Remembered
from tasks.lib.deploy.objects import Wanted
from tasks.lib.deploy.plan.decide import Step
from tasks.lib.deploy.releases import parts
from tasks.lib.deploy.releases.soundness import sound
from tasks.lib.errors import Failure, UsageError
from tasks.lib.render.pods import containers_of, pod_specs

if TYPE_CHECKING:
    from tasks.lib.deploy.session import Session

# How earlier versions wrote which release came back.
RESTORED: Final = re.compile(r" to (?:release )?(\d+)")


@dataclass(frozen=True)
class Past:
    """One release of the past.

    Args:
        number: counts up from 1; 0 is what others had deployed before.
        facts: commit, branch, tag, build, who, began, seconds, phases, images, secrets and result, as texts.
        packed: the rendered objects, compressed, in base64; empty where they were not kept whole.
        parts: how many ConfigMaps it takes.

    """

    number: int
    facts: dict[str, str]
    packed: str
    parts: int = 1

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
        """How it ended; earlier versions wrote the release that came back into the same text."""
        text = RESTORED.sub("", self.facts.get("result", "")).replace("roll back", "rollback")
        return ReleaseResult(text) if text in set(ReleaseResult) else ReleaseResult.UNKNOWN

    @property
    def rolled_back_to(self) -> int | None:
        """The release that a failed deploy brought back by itself."""
        if "rolled_back_to" in self.facts:
            return int(self.facts["rolled_back_to"])
        restored = RESTORED.search(self.facts.get("result", ""))
        return int(restored[1]) if restored and self.result is ReleaseResult.RECOVERED else None

    @property
    def instead(self) -> str:
        """What to do where its objects cannot be brought back."""
        if not self.number:
            return "Deploy with what deployed here before."
        branch, commit = (self.facts.get(name) or "…" for name in ("branch", "commit"))
        return f"Deploy its commit instead: ./inv deploy --branch {branch} --commit {commit}"

    def objects(self) -> list[Json]:
        """The rendered objects, without Secrets.

        Raises:
            Failure: they were too large to be kept, or someone deleted a part of them.

        """
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


def read(api: Api, namespace: str) -> list[Past]:
    """The releases that are kept, the newest first."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    items, _ = api.list(path, doing="read the history", query={"labelSelector": parts.LABEL})
    by_number: dict[int, list[Json]] = defaultdict(list)
    for item in filter(parts.is_one, items):
        by_number[int(item["metadata"]["labels"][parts.LABEL])].append(item)
    return [past for number in sorted(by_number, reverse=True) if (past := _past(number, by_number[number]))]


def _past(number: int, items: Sequence[Json]) -> Past | None:
    """A release out of its ConfigMaps; None for parts whose first, with the facts, is missing."""
    head = next((item for item in items if parts.PART not in item["metadata"]["labels"]), None)
    if head is None:
        return None
    packed, count = parts.content(head, [item for item in items if item is not head])
    return Past(number, sound(head.get("data") or {}), packed, count)


def add(
    api: Api,
    namespace: str,
    facts_of_it: dict[str, str],
    objects: Sequence[Wanted] | None,
    known: Sequence[Past],
    sealed: Callable[[Past], Past] = lambda past: past,
) -> int:
    """Keep a release and forget old ones beyond the bound; returns its number.

    Args:
        api: the server.
        namespace: the environment's.
        facts_of_it: what is remembered of it.
        objects: what it deployed; None where nobody knows.
        known: the releases that are kept, the newest first.
        sealed: adds the seal to a release, once its number is known.

    """
    packed = "" if objects is None else pack(objects)
    past = sealed(bounded(Past((known[0].number if known else 0) + 1, facts_of_it, packed)))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    while not put(api, path, past, namespace):
        past = sealed(replace(past, number=past.number + 1))
    everything = [past, *known]
    good = next((at for at, one in enumerate(everything) if one.went_well), 0)
    for place in parts.beyond([parts.size(one.packed) for one in everything], good):
        forget(api, path, everything[place])
    return past.number


def put(api: Api, path: str, past: Past, namespace: str) -> bool:
    """Keep a release under its number; returns False where another has that number.

    One that is kept at the same time, as by a deploy that lost its lock, must not be written over: only who
    has made the first part writes the others.
    """
    head, *others = parts.manifests(past.number, past.facts, past.packed, namespace)
    if not _claim(api, path, past, head):
        return False
    try:
        for part in others:  # perhaps over those of a deploy that ended before it came to its facts
            api.apply(f"{path}/{part['metadata']['name']}", part, doing="keep the release")
    except Failure:
        with suppress(Failure):
            forget(api, path, replace(past, parts=len(others) + 1))
        raise
    return True


def _claim(api: Api, path: str, past: Past, head: Json) -> bool:
    """Make the first part of a release; returns False where another has its number."""
    query = {"fieldManager": FIELD_MANAGER}
    try:
        api.request("POST", path, doing="keep the release", body=head, query=query)
    except ApiError as error:
        if error.reason != "AlreadyExists":  # quota that others change, and webhooks, answer 409 too
            raise
        return _is_kept(api, path, past)
    return True


def _is_kept(api: Api, path: str, past: Past) -> bool:
    """Whether what has the number is this very release: the answer to our own request may have been lost."""
    try:
        there = api.get(f"{path}/{parts.name(past.number, 1)}", doing="read a release")
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return (there.get("data") or {}) == past.facts


def bounded(past: Past) -> Past:
    """The release as it is kept: without its objects where these are larger than the bound."""
    took = parts.size(past.packed)
    if took <= parts.BYTES_OF_ALL:
        return past
    why = f"They take {took} bytes compressed, and {parts.BYTES_OF_ALL} are kept at most."
    return replace(past, facts={**past.facts, "not_kept": why}, packed="")


def forget(api: Api, path: str, past: Past) -> None:
    """Delete the ConfigMaps of a release, the one with the facts first."""
    for part in range(1, past.parts + 1):
        try:
            api.request("DELETE", f"{path}/{parts.name(past.number, part)}", doing="forget an old release")
        except ApiError as error:
            if error.status != 404:
                raise


def keep(session: "Session", steps: Sequence[Step]) -> None:
    """Keep a release as `add` does; where that fails, how the deploy itself ended stays the news."""
    objects, record = [step.wanted for step in steps], session.record
    seconds = time.monotonic() - session.began
    facts_of_it = facts(session.facts, record, objects, seconds)
    session.tell(Remembered(facts_of_it))
    try:
        number = add(session.api, session.namespace, facts_of_it, objects, session.past, session.seal.sealed)
        session.tell(Notice(f"kept as release {number}"))
    except Failure as failure:
        session.tell(Notice(f"This release could not be kept in the history: {failure.what} {failure.why}"))


def is_good(past: Sequence[Past]) -> bool:
    """Whether the newest release went well, so that a deploy that changes nothing is that release again.

    One that finishes what a killed deploy had applied is news: nothing else tells what to roll back to.
    """
    return bool(past) and past[0].went_well


def last_good(past: Sequence[Past]) -> Past | None:
    """The newest release that went well, from releases that are sorted newest first."""
    return next((one for one in past if one.went_well), None)


def choose(past: Sequence[Past], number: int | None, environment: str) -> Past:
    """The release to go back to.

    Where the present one itself went back, what counts is what it went back to: going back twice does not
    lead to what was left the first time.

    Args:
        past: what is kept, the newest first.
        number: which; None for the last good one before the present one.
        environment: its name, to say how they are listed.

    Raises:
        UsageError: there is no such release.

    """
    if number is None:
        good = [one for one in past if one.went_well]
        present = past[0] if past else Past(0, {}, "")
        before = int(present.facts.get("back_to", present.number)) if present in good else present.number
        found = next((one for one in good if one.number < before), None)
    else:
        found = next((one for one in past if one.number == number), None)
    if found:
        return found
    raise UsageError(
        f"There is no release {'that went well before the present one' if number is None else number}.",
        f"Kept: {', '.join(str(one.number) for one in past) or 'none'}.",
        f"./inv release.list --environment {environment}",
    )
