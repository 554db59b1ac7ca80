"""Telling history to people and programs."""

import json
from collections.abc import Sequence

from tasks.lib import console
from tasks.lib.deploy.history import Past
from tasks.lib.duration import spoken


def deliver_list(past: Sequence[Past], *, as_json: bool) -> None:
    """Print releases as JSON on stdout, or as a table."""
    if as_json:
        console.emit(json.dumps([{"number": one.number, **one.facts} for one in past], indent=2))
        return
    rows = [row(one) for one in past]
    console.table(("release", "began", "took", "commit", "tag", "who", "result"), rows)


def row(one: Past) -> tuple[str, ...]:
    """The cells of one release."""
    facts = one.facts
    back = f" (back to {facts['back_to']})" if "back_to" in facts else ""
    return (
        str(one.number), facts.get("began", ""), spoken(float(facts.get("seconds", 0))),
        facts.get("commit", "")[:7], facts.get("tag", ""), facts.get("who", "").partition(" (")[0],
        facts.get("result", "") + back,
    )  # fmt: skip
