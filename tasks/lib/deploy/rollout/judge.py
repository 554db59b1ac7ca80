"""The judgement of one object that a deploy waits for, made again at every piece of news.

failure_rules.py says what each state means and how long it may last, diagnose.py finds these states in live
objects, cluster_view.py knows which pods are of a workload's newest state; wait.py acts on the verdict.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from tasks.lib.cluster.api import FIELD_MANAGER, Json
from tasks.lib.deploy.objects import Ref, managed_fields
from tasks.lib.deploy.rollout.cluster_view import View
from tasks.lib.deploy.rollout.diagnose import has_started, without_earlier_deadline
from tasks.lib.deploy.rollout.failure_rules import Problem
from tasks.lib.deploy.rollout.readiness import State, readiness, still_runs
from tasks.lib.deploy.steps import Step

# A rollout will end the pods of an earlier state anyway; one that never became ready need not be waited for.
PATIENCE_WITH_EARLIER_PODS: Final = 15.0
Found = Sequence[tuple[Problem, Json | None]]  # each with the pod that shows it, if one does


@dataclass
class Target:
    """One object that is waited for."""

    ref: Ref
    uid: str  # of the very object that was applied, so that one of the same name is not taken for it
    generation: int  # the one that the apply made: an older state that arrives late is not judged
    since: str = ""  # when this deploy wrote it, by the server's clock; empty where it did not
    # It is the previous run of a Job, which this deploy replaces once that has ended.
    is_replaced: bool = False
    said: str = ""  # what was last told about it
    # When each present problem was first seen.
    problem_since: dict[tuple[str, ...], float] = field(default_factory=dict)

    def told(self, reason: str) -> str:
        """Why it is waited for, with whose run it is."""
        if self.is_replaced:
            return f"waiting for the previous run to end: {reason}"
        is_of_earlier_deploy = self.ref.is_job and not self.since
        return f"started by an earlier deploy: {reason}" if is_of_earlier_deploy else reason

    def note(self, present: Sequence[Problem]) -> None:
        """Remember since when each present problem lasts, and forget those that passed."""
        now = time.monotonic()
        self.problem_since = {p.key: self.problem_since.get(p.key, now) for p in present}

    def lasts(self, problem: Problem) -> float:
        """For how many seconds a present problem has been there."""
        return time.monotonic() - self.problem_since[problem.key]


def target_of(step: Step, live: Json) -> Target:
    """What to wait for after a step that left the object as `live`."""
    since = last_write(live) if step.writes else ""
    return Target(step.ref, live["metadata"]["uid"], live["metadata"].get("generation", 0), since)


def previous_run(step: Step) -> Target | None:
    """The run of a Job that has to end before this step starts another; None where there is none.

    No deploy ends a Job that an earlier one started: it may be changing the database.
    """
    if not step.ref.is_job or step.live is None or not still_runs(step.live):
        return None
    metadata = step.live["metadata"]
    return Target(step.ref, metadata["uid"], metadata.get("generation", 0), is_replaced=True)


def last_write(thing: Json) -> str:
    """When this project last wrote an object, by the server's clock; empty if it never did."""
    entries = managed_fields(thing)
    return max((e.get("time", "")[:19] for e in entries if e.get("manager") == FIELD_MANAGER), default="")


class Outcome(Enum):
    """What waiting for an object has come to."""

    DONE = auto()
    FAILED = auto()
    WAITING = auto()


@dataclass(frozen=True)
class Verdict:
    """The judgement of one target."""

    outcome: Outcome
    reason: str
    problems: Found = ()  # what is wrong; where it failed, what decided that
    # Broken pods of an earlier state that hold the rollout up and have had their time.
    stuck: Sequence[Json] = ()


def judge(target: Target, live: Json, view: View, limits: Mapping[str, float]) -> Verdict:
    """The verdict about a target: the first of these questions that is answered with yes decides.

    1. Has the previous run of a Job ended?  First, because its failure is no failure of this deploy.
    2. Is it ready?  Before any problem, because controllers count pods that recovered, and events that tell
       of a problem outlive it.
    3. Has its controller given up?  What it said of the state before this deploy's does not count.
    4. Has a problem lasted as long as its rule allows?  Only told of a run that is replaced.
    5. Otherwise it is waited for.

    `limits` are time limits of the settings that take the place of the rules' patience, by name.
    """
    if target.is_replaced and (end := end_of_previous_run(live, view)):
        return Verdict(Outcome.DONE, end)
    live = without_earlier_deadline(live, target.since)
    found = readiness(live)
    if found.state is State.READY:
        return Verdict(Outcome.DONE, found.reason or "ready")
    problems, held_up_by = view.problems_of(live, target.since), view.stuck_pods_of(live)
    target.note([problem for problem, _ in (*problems, *held_up_by)])
    expired = [(p, pod) for p, pod in problems if target.lasts(p) >= _patience(p, limits)]
    if found.state is State.FAILED or (expired and not target.is_replaced):
        return Verdict(Outcome.FAILED, found.reason, expired or problems)
    stuck = [
        pod
        for p, pod in held_up_by
        if target.lasts(p) >= min(_patience(p, limits), PATIENCE_WITH_EARLIER_PODS)
    ]
    reason = f"{found.reason}; {problems[0][0]}" if problems else found.reason
    return Verdict(Outcome.WAITING, target.told(reason), problems, stuck)


def end_of_previous_run(live: Json, view: View) -> str:
    """How a run that is replaced ended, or that it cannot even start; empty while it may go on."""
    found = readiness(live)
    if found.state is not State.WAITING:
        return f"the previous run has ended ({found.reason})"
    problems = [problem for problem, _ in view.problems_of(live) if problem.is_lasting]
    if problems and not has_started(live, view.pods_of(live)):
        return f"the previous run cannot start ({problems[0].reason}), so it is replaced"
    return ""


def _patience(problem: Problem, limits: Mapping[str, float]) -> float:
    return limits.get(problem.limit, problem.patience)
