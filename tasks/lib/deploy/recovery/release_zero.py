"""Release 0: what others had deployed here before this project's first deploy, kept so that it can come back.

Kept are the objects that the deploy is going to change, as they are, and the ConfigMaps that their pods read.
Of Secrets it has names and keys, as every release: those with a hash in their names stay in the cluster.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final

from tasks.lib.cluster.api import Api, Json
from tasks.lib.cluster.gke import Connection
from tasks.lib.deploy import history
from tasks.lib.deploy.events import Notice, Record, ReleaseResult
from tasks.lib.deploy.objects import APPLIED, Ref, Wanted, annotations, configuration_names, managed_fields
from tasks.lib.deploy.plan.decide import get
from tasks.lib.deploy.plan.field_managers import fields_of, only_in, remove
from tasks.lib.deploy.recovery.recover import LEFT, as_it_was
from tasks.lib.deploy.releases import store
from tasks.lib.deploy.releases.drift import CONTROLLERS
from tasks.lib.deploy.session import Session
from tasks.lib.deploy.steps import Step
from tasks.lib.errors import Failure
from tasks.lib.render.pods import pod_specs

REVISION: Final = "deployment.kubernetes.io/revision"  # which its controller counts


def keep(session: Session, steps: Sequence[Step]) -> None:
    """Keep what others deployed as release 0, before the first deploy that changes some of it.

    Raises Failure where it cannot be kept, before anything is changed.
    """
    of_others = [step for step in steps if is_of_others(step)]
    if not of_others or any(one.number for one in session.past):
        return
    connection, namespace = session.connection, session.namespace
    try:
        objects = [state(step.ref, step.live or {}) for step in of_others]
        objects += _read_by(connection, namespace, objects)
        facts = history.facts(
            {"who": session.facts["who"]}, Record("", outcome=ReleaseResult.BEFORE), objects, 0
        )
        release = session.seal.sealed(store.bounded(history.Release(0, facts, history.pack(objects))))
        _write(session.api, namespace, release, session.past)
    except Failure as failure:
        raise Failure(
            "What others deployed here could not be kept as release 0: nothing was changed.",
            f"{failure.what} {failure.why}",
            failure.next_step,
        ) from failure
    session.past, session.zero = [release], release
    back = f"./inv release.rollback --environment {session.environment.name} --to 0"
    session.tell(Notice(f"what others deployed is kept as release 0; to roll back to it: {back}"))


def is_of_others(step: Step) -> bool:
    """Whether a step changes an object that this project never applied and a rollback would restore."""
    annotations = ((step.live or {}).get("metadata") or {}).get("annotations") or {}
    return step.writes and step.live is not None and APPLIED not in annotations and step.ref.kind not in LEFT


def state(ref: Ref, live: Json) -> Wanted:
    """A live object as something to apply again: without what controllers set in it, and go on setting."""
    kept = copy.deepcopy(live)
    entries = managed_fields(kept)
    own = [entry for entry in entries if CONTROLLERS.search(entry["manager"])]
    for path in only_in(fields_of(own), fields_of([entry for entry in entries if entry not in own])):
        remove(kept, path)
    annotations(kept).pop(REVISION, None)
    return as_it_was(ref, _without_nulls(kept))


def _without_nulls(thing: Any) -> Any:
    """Older servers write `creationTimestamp: null` in templates."""
    if isinstance(thing, dict):
        return {key: _without_nulls(value) for key, value in thing.items() if value is not None}
    return [_without_nulls(value) for value in thing] if isinstance(thing, list) else thing


def _read_by(connection: Connection, namespace: str, objects: Sequence[Wanted]) -> list[Wanted]:
    """The ConfigMaps that pods of these objects read and that are not among them."""
    names = {name for w in objects for spec in pod_specs(w.body) for name in configuration_names(spec)}
    refs = {Ref("v1", "ConfigMap", namespace, name) for kind, name in names if kind == "ConfigMap"}
    kind = connection.kinds["v1", "ConfigMap"]
    found = ((ref, get(connection.api, kind, ref)) for ref in sorted(refs - {w.ref for w in objects}))
    return [state(ref, live) for ref, live in found if live]


def _write(api: Api, namespace: str, release: history.Release, past: Sequence[history.Release]) -> None:
    """Keep release 0 in place of one that no deploy followed."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for outdated in past:
        store.forget(api, path, outdated)
    store.put(api, path, release, namespace)
