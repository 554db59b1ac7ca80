"""The cluster's warnings, by the object that they are about; whether one is about now, or about the past.

An event outlives its cause by an hour.  So an event that lay there before we looked counts only where it is
not older than our own last write; one that arrives while we look counts in any case.
"""

from collections import defaultdict

from tasks.lib.cluster.api import Json


class Warnings:
    """Events of type Warning, as the watch brings them."""

    def __init__(self) -> None:
        self._about: dict[str, dict[str, Json]] = defaultdict(dict)
        self._arrived: set[str] = set()

    def put(self, event: Json, *, arrived: bool) -> None:
        """Take in an event; `arrived` where it came while we watched."""
        self._about[subject(event)][event["metadata"]["uid"]] = event
        if arrived:
            self._arrived.add(event["metadata"]["uid"])

    def drop(self, event: Json) -> None:
        """Forget an event."""
        self._about[subject(event)].pop(event["metadata"]["uid"], None)

    def about(self, thing: Json) -> list[Json]:
        """The newest event of each reason about an object."""
        newest: dict[str, Json] = {}
        for event in sorted(self._about.get(thing["metadata"]["uid"], {}).values(), key=last_seen):
            newest[event.get("reason", "")] = event
        return list(newest.values())

    def is_recent(self, event: Json, since: str) -> bool:
        """Whether an event is about now.

        Args:
            event: the event.
            since: when our own write was, by the server's clock; empty where nothing was written.

        """
        return event["metadata"]["uid"] in self._arrived or bool(since and last_seen(event) >= since)


def subject(event: Json) -> str:
    """The uid of the object that an event is about."""
    return str((event.get("involvedObject") or {}).get("uid", ""))


def last_seen(event: Json) -> str:
    """When an event last happened, to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    moment = series or event.get("lastTimestamp") or event.get("eventTime")
    return str(moment or event["metadata"].get("creationTimestamp") or "")[:19]
