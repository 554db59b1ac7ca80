"""How a release fits into ConfigMaps, which hold 1 MiB each: in parts, and all releases within a bound.

The first part carries the facts and says how many there are.  It is made first, and whoever makes it has the
number; a release with a part missing is not whole.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from tasks.lib.cluster.api import Json

LABEL: Final = "lookit-orchestrator/release"
PART: Final = "lookit-orchestrator/part"
PARTS: Final = "lookit-orchestrator/parts"
PREFIX: Final = "lookit-orchestrator-release-"
# A ConfigMap takes 1 MiB in all; the facts need a few KiB of it.
BYTES_OF_A_PART: Final = 960 * 1024
# What one release, and all that are kept together, may take.
BYTES_OF_ALL: Final = 16 * 1024 * 1024
KEPT: Final = 20


def split(packed: str) -> list[str]:
    """Content in base64 as pieces that are base64 each; at least one, perhaps empty."""
    raw = base64.b64decode(packed)
    starts = range(0, max(len(raw), 1), BYTES_OF_A_PART)
    return [base64.b64encode(raw[at : at + BYTES_OF_A_PART]).decode() for at in starts]


def join(pieces: Sequence[str]) -> str:
    """The content that `split` took apart."""
    return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()


def size(packed: str) -> int:
    """The bytes that content in base64 takes in a ConfigMap."""
    return len(packed) * 3 // 4


def name(number: int, part: int) -> str:
    """The ConfigMap of one part, counted from 1."""
    return f"{PREFIX}{number}" + (f"-part-{part}" if part > 1 else "")


def is_one(item: Json) -> bool:
    """Whether a ConfigMap with our label is what its name says: people copy some and change the name."""
    labels: dict[str, str] = item["metadata"]["labels"]
    number, part = labels.get(LABEL, ""), labels.get(PART, "1")
    if not (number.isdecimal() and part.isdecimal()):
        return False
    return bool(item["metadata"]["name"] == name(int(number), int(part)))


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
    noted = (head["metadata"].get("annotations") or {}).get(PARTS, "1")
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
    return join(pieces) if all(pieces) else "", wanted


def beyond(sizes: Sequence[int], good: int) -> list[int]:
    """Which releases are one too many.

    Args:
        sizes: of each release, the newest first.
        good: the place of the newest one that went well, which stays, as the newest of all does.

    """
    total, found = 0, []
    for place, one in enumerate(sizes):
        total += one
        if (place >= KEPT or total > BYTES_OF_ALL) and place not in {0, good}:
            found.append(place)
    return found


def _manifest(number: int, part: int, piece: str, namespace: str) -> Json:
    labels = {LABEL: str(number), **({PART: str(part)} if part > 1 else {})}
    metadata = {"name": name(number, part), "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": {"objects": piece}}
