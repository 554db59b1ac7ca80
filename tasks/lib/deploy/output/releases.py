"""Telling history to people and programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from tasks.lib import console
from tasks.lib.console import spoken
from tasks.lib.deploy.history import DAMAGED, Release
from tasks.lib.deploy.releases.review import Difference, Status

# Facts that are JSON themselves.
STRUCTURED: Final[tuple[str, ...]] = ("phases", "images", "secrets")
SIGNS: Final = {"added": "+", "removed": "-", "changed": "~", "missing": "-", "extra": "+"}


def structured(past: Release) -> dict[str, Any]:
    """A release's facts as JSON has them."""
    parsed = {key: json.loads(past.facts[key]) for key in STRUCTURED if key in past.facts}
    return {"number": past.number, **past.facts, **parsed}


def ended(past: Release) -> str:
    """How a release ended, in words."""
    to = "" if past.rolled_back_to is None else f" to {past.rolled_back_to}"
    back = f" (back to {past.facts['back_to']})" if "back_to" in past.facts else ""
    return f"{past.result}{to}{back}"


def deliver_release(past: Release, *, as_json: bool) -> None:
    """Print one release: as JSON with its objects on stdout, or as lines."""
    if as_json:
        _emit({**structured(past), "objects": past.objects() if past.packed else None})
    else:
        _say(release_lines(past))


def release_lines(past: Release) -> list[str]:
    """A release in words."""
    facts = structured(past)
    phases, images, secrets = (facts.get(key) or [] for key in STRUCTURED)
    told = ["commit", "branch", "tag", "build", "who", "began", DAMAGED]
    lines = [f"release {past.number}", f"  result: {ended(past)}"]
    lines += [f"  {key.replace('_', ' ')}: {facts[key]}" for key in told if facts.get(key)]
    lines.append(f"  took: {spoken(float(facts.get('seconds', 0)))}")
    lines += [f"    {title}: {spoken(took)}" for title, took in dict(phases).items()]
    lines += ["  images:", *(f"    {image}" for image in images)]
    if "not_kept" in facts:
        return [*lines, f"  objects: not kept. {facts['not_kept']}"]
    names = sorted(f"{body['kind']} {body['metadata']['name']}" for body in past.objects())
    kept = [f"Secret {one['name']} (keys: {', '.join(one['keys'])})" for one in secrets]
    return [*lines, f"  objects: {len(names) + len(kept)}", *(f"    {name}" for name in [*names, *kept])]


def deliver_differences(
    before: Release, after: Release, found: Sequence[Difference], *, as_json: bool
) -> None:
    """Print how two releases differ."""
    if as_json:
        _emit({"from": before.number, "to": after.number, "objects": [asdict(one) for one in found]})
    else:
        _say(difference_lines(before, after, found))


def difference_lines(before: Release, after: Release, found: Sequence[Difference]) -> list[str]:
    """How two releases differ, in lines."""
    commits = " → ".join(one.commit for one in (before, after))
    lines = [f"release {before.number} → {after.number}, commit {commits}"]
    for one in found:
        lines.append(f"  {SIGNS[one.action]} {one.kind} {one.name}")
        lines += [f"      {line}" for change in one.changes for line in change.lines]
    return [*lines, f"{len(found)} objects differ." if found else "Their objects are the same."]


def deliver_status(environment: str, status: Status, *, as_json: bool) -> None:
    """Print how an environment stands."""
    if not as_json:
        _say(status_lines(environment, status))
        return
    drifted = [
        {
            **{key: getattr(one.ref, key) for key in ("kind", "name", "namespace")},
            "state": one.state,
            "by": one.by,
            "fields": [asdict(change) for change in one.changes],
        }
        for one in status.drifted
    ]
    killed = structured(status.killed) if status.killed else None
    release = structured(status.release)
    _emit({"environment": environment, "release": release, "killed": killed, "drift": drifted})


def status_lines(environment: str, status: Status) -> list[str]:
    """How an environment stands, in lines: of a changed field the release's value comes first."""
    facts = status.release.facts
    commit, tag = status.release.commit, facts.get("tag", "")
    lines = [
        f"{environment}: release {status.release.number}, commit {commit}{f', tag {tag}' if tag else ''}: "
        f"{ended(status.release)}, {facts.get('began', '')}, by {facts.get('who', '?').partition(' (')[0]}"
    ]
    if status.killed:
        later = status.killed
        lines.append(
            f"Release {later.number} after it, commit {later.commit}, was killed: what it applied stays. "
            "Deploy again, or ./inv release.rollback."
        )
    for one in status.drifted:
        by = f", by {', '.join(one.by)}" if one.by else ""
        lines.append(f"  {SIGNS[one.state]} {one.ref}: {one.state}{by}")
        lines += [f"      {line}" for change in one.changes for line in change.lines]
    if not status.drifted:
        return [*lines, "No drift."]
    return [*lines, f"{len(status.drifted)} objects have drifted from that release."]


def deliver_list(past: Sequence[Release], *, as_json: bool) -> None:
    """Print releases as JSON on stdout, or as a table."""
    if as_json:
        _emit([{"number": one.number, **one.facts} for one in past])
        return
    rows = [row(one) for one in past]
    console.table(("release", "began", "took", "commit", "tag", "who", "result"), rows)


def row(one: Release) -> tuple[str, ...]:
    """The cells of one release."""
    facts = one.facts
    return (
        str(one.number), facts.get("began", ""), spoken(float(facts.get("seconds", 0))),
        facts.get("commit", "")[:7], facts.get("tag", ""), facts.get("who", "").partition(" (")[0],
        ended(one),
    )  # fmt: skip


def _emit(told: Any) -> None:
    console.emit(json.dumps(told, indent=2))


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        console.say(line)
