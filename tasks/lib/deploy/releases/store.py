"""The history in the cluster: one ConfigMap a release, readable with kubectl, and several for a large one.

Its `data` says commit, result, times and who; `objects` holds the rendered objects without Secrets,
compressed.  A ConfigMap holds 1 MiB, so a large release goes into parts.  The first part has the facts and
says how many there are; whoever makes it has the number.  A release with a part missing is not whole.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from tasks.lib.cluster.api import FIELD_MANAGER, Api, Json
from tasks.lib.cluster.errors import ApiError
from tasks.lib.deploy.history import Release, pack, sound
from tasks.lib.deploy.objects import Wanted, annotations
from tasks.lib.errors import Failure

LABEL: Final = "lookit-orchestrator/release"
PART: Final = "lookit-orchestrator/part"
PARTS: Final = "lookit-orchestrator/parts"
PREFIX: Final = "lookit-orchestrator-release-"
# A ConfigMap takes 1 MiB in all; the facts need a few KiB of it.
BYTES_OF_A_PART: Final = 960 * 1024  # a multiple of 3, so that its base64 has no padding
# What one release, and all that are kept together, may take.
BYTES_OF_ALL: Final = 16 * 1024 * 1024
KEPT: Final = 20


def read(api: Api, namespace: str) -> list[Release]:
    """The releases that are kept, the newest first."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    items, _ = api.list(path, doing="read the history", query={"labelSelector": LABEL})
    return releases(items)


def releases(config_maps: Iterable[Json]) -> list[Release]:
    """The releases that ConfigMaps keep, the newest first; others among them do not count."""
    by_number: dict[int, list[Json]] = defaultdict(list)
    for item in filter(is_release, config_maps):
        by_number[int(item["metadata"]["labels"][LABEL])].append(item)
    return [
        release
        for number in sorted(by_number, reverse=True)
        if (release := _release(number, by_number[number]))
    ]


def _release(number: int, items: Sequence[Json]) -> Release | None:
    """A release out of its ConfigMaps; None for parts whose first, with the facts, is missing."""
    head = next((item for item in items if PART not in item["metadata"]["labels"]), None)
    if head is None:
        return None
    packed, count = content(head, [item for item in items if item is not head])
    return Release(number, sound(head.get("data") or {}), packed, count)


def add(
    api: Api,
    namespace: str,
    facts_of_it: dict[str, str],
    objects: Sequence[Wanted] | None,
    known: Sequence[Release],
    sealed: Callable[[Release], Release] = lambda release: release,
) -> int:
    """Keep a release and delete old ones beyond the bound; returns its number.

    `known` are the releases that are kept, the newest first; `objects` is None where they are not known.
    """
    packed = "" if objects is None else pack(objects)
    release = sealed(bounded(Release((known[0].number if known else 0) + 1, facts_of_it, packed)))
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    while not put(api, path, release, namespace):
        release = sealed(replace(release, number=release.number + 1))
    everything = [release, *known]
    good = next((at for at, one in enumerate(everything) if one.went_well), 0)
    for place in beyond([size(one.packed) for one in everything], good):
        forget(api, path, everything[place])
    return release.number


def put(api: Api, path: str, release: Release, namespace: str) -> bool:
    """Keep a release under its number; returns False where another has that number.

    One that is kept at the same time, as by a deploy that lost its lock, must not be written over: only who
    has made the first part writes the others.
    """
    head, *others = manifests(release.number, release.facts, release.packed, namespace)
    if not _claim(api, path, release, head):
        return False
    try:
        for part in others:  # perhaps over those of a deploy that ended before it came to its facts
            api.apply(f"{path}/{part['metadata']['name']}", part, doing="keep the release")
    except Failure:
        with suppress(Failure):
            forget(api, path, replace(release, parts=len(others) + 1))
        raise
    return True


def _claim(api: Api, path: str, release: Release, head: Json) -> bool:
    """Make the first part of a release; returns False where another has its number."""
    query = {"fieldManager": FIELD_MANAGER}
    try:
        api.request("POST", path, doing="keep the release", body=head, query=query)
    except ApiError as error:
        if error.reason != "AlreadyExists":  # quota that others change, and webhooks, answer 409 too
            raise
        return _is_kept(api, path, release)
    return True


def _is_kept(api: Api, path: str, release: Release) -> bool:
    """Whether what has the number is this very release: the answer to our own request may have been lost."""
    try:
        there = api.get(f"{path}/{config_map(release.number, 1)}", doing="read a release")
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return (there.get("data") or {}) == release.facts


def bounded(release: Release) -> Release:
    """The release as it is kept: without its objects where these are larger than the bound."""
    took = size(release.packed)
    if took <= BYTES_OF_ALL:
        return release
    why = f"They take {took} bytes compressed, and {BYTES_OF_ALL} are kept at most."
    return replace(release, facts={**release.facts, "not_kept": why}, packed="")


def forget(api: Api, path: str, release: Release) -> None:
    """Delete the ConfigMaps of a release, the one with the facts first."""
    for part in range(1, release.parts + 1):
        try:
            api.request("DELETE", f"{path}/{config_map(release.number, part)}", doing="forget an old release")
        except ApiError as error:
            if error.status != 404:
                raise


def split(packed: str) -> list[str]:
    """Content in base64 as pieces that are base64 each; at least one, perhaps empty."""
    length = BYTES_OF_A_PART // 3 * 4
    return [packed[at : at + length] for at in range(0, max(len(packed), 1), length)]


def size(packed: str) -> int:
    """The bytes that content in base64 takes in a ConfigMap."""
    return len(packed) * 3 // 4


def config_map(number: int, part: int) -> str:
    """The ConfigMap of one part, counted from 1."""
    return f"{PREFIX}{number}" + (f"-part-{part}" if part > 1 else "")


def is_release(item: Json) -> bool:
    """Whether a ConfigMap with our label is what its name says: people copy some and change the name."""
    labels: dict[str, str] = item["metadata"].get("labels") or {}
    number, part = labels.get(LABEL, ""), labels.get(PART, "1")
    if not (number.isdecimal() and part.isdecimal()):
        return False
    return bool(item["metadata"]["name"] == config_map(int(number), int(part)))


def manifests(number: int, facts: Mapping[str, str], packed: str, namespace: str) -> list[Json]:
    """The ConfigMaps that keep a release: the one with the facts first."""
    pieces = split(packed)
    made = [_manifest(number, part, piece, namespace) for part, piece in enumerate(pieces, 1)]
    made[0]["data"] = dict(facts)
    if len(pieces) > 1:
        made[0]["metadata"]["annotations"] = {PARTS: str(len(pieces))}
    return made


def content(head: Json, others: Sequence[Json]) -> tuple[str, int]:
    """What the parts of a release hold together, and how many they should be; empty if one is missing."""
    noted = annotations(head).get(PARTS, "1")
    by_part = {int(one["metadata"]["labels"][PART]): one for one in others}
    if not noted.isdecimal():  # somebody changed it
        return "", max(by_part, default=1)
    wanted = int(noted)
    numbers = range(2, wanted + 1)
    if any(part not in by_part for part in numbers):
        return "", wanted
    pieces = [
        (one.get("binaryData") or {}).get("objects", "") for one in (head, *(by_part[n] for n in numbers))
    ]
    return "".join(pieces) if all(pieces) else "", wanted


def beyond(sizes: Sequence[int], good: int) -> list[int]:
    """Which releases are one too many, by their sizes, the newest first.

    The newest of all stays, and the newest that went well, which is at the place `good`.
    """
    total, found = 0, []
    for place, one in enumerate(sizes):
        total += one
        if (place >= KEPT or total > BYTES_OF_ALL) and place not in {0, good}:
            found.append(place)
    return found


def _manifest(number: int, part: int, piece: str, namespace: str) -> Json:
    labels = {LABEL: str(number), **({PART: str(part)} if part > 1 else {})}
    metadata = {"name": config_map(number, part), "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": {"objects": piece}}
