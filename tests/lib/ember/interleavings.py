"""All orders in which the requests of operations at once can reach a bucket, with the operations' real code.

An operation is a function that is given a pool.  It stands still where it asks; one state of the bucket and of
all operations leads to each of those that can follow, and a state is visited once.  Where a request is
answered in a second way, the operation is run again from its beginning and answered as before up to there.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tasks.lib.ember import content
from tasks.lib.ember.http import Job, Pause, Pool, Request, Response, Traffic
from tasks.lib.ember.sending import BOUNDARY
from tasks.lib.errors import Failure

WRITTEN = "2020-01-01T00:{:02}:00+00:00"

Operation = Callable[[Pool], object]
Order = Callable[[Sequence[Request]], Iterable[int]]


class Kept(NamedTuple):
    """An object of the bucket."""

    generation: int
    data: bytes
    attributes: str


@dataclass(frozen=True, eq=False)
class Bucket:
    """What a bucket holds, and the last generation that each name had: none is ever given twice.

    Those that follow from one another and hold the same are one object, and remember what they answered: there
    are some hundred of them in tens of thousands of states.
    """

    objects: Mapping[str, Kept] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)
    _known: dict[object, "Bucket"] = field(default_factory=dict)
    _answers: dict[Request, tuple["Bucket", Response]] = field(default_factory=dict)

    def _with(self, objects: Mapping[str, Kept], last: Mapping[str, int]) -> "Bucket":
        key = (tuple(sorted(objects.items())), tuple(sorted(last.items())))
        return self._known.setdefault(key, Bucket(objects, last, self._known))

    def content(self, name: str) -> bytes | None:
        """The unpacked content of an object."""
        kept = self.objects.get(name)
        return (
            content.unpacked(kept.data, json.loads(kept.attributes).get("contentEncoding", ""))
            if kept
            else None
        )

    def answered(self, request: Request) -> tuple["Bucket", Response]:
        """What the JSON API answers, and the bucket then."""
        if request not in self._answers:
            self._answers[request] = self._answered(request)
        return self._answers[request]

    def _answered(self, request: Request) -> tuple["Bucket", Response]:
        url = urlsplit(request.url)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path.startswith("/upload/"):
            return self._uploaded(query, cast("bytes", request.body))
        names = url.path.partition("/o/")[2]
        if not names:
            return self, self._listing(query)
        source, _, target = (unquote(part) for part in names.partition("/rewriteTo/b/bucket/o/"))
        if target:
            return self._rewritten(query, source, target)
        if request.method == "GET":
            return self, self._read(query, source)
        return self._changed(query, request, source)

    def _listing(self, query: Mapping[str, str]) -> Response:
        prefix = query.get("prefix", "")
        items, folders = [], set()
        for name in sorted(self.objects):
            if not name.startswith(prefix):
                continue
            folder, slash, _ = name.removeprefix(prefix).partition("/")
            if slash and "delimiter" in query:
                folders.add(f"{prefix}{folder}/")
            else:
                items.append(self.described(name))
        return _answer(200, {"items": items, "prefixes": sorted(folders)})

    def described(self, name: str) -> dict[str, Any]:
        """What the API says of an object."""
        kept = self.objects[name]
        return {
            "name": name, "size": str(len(kept.data)), "crc32c": content.as_base64(content.checksum([kept.data])),
            "generation": str(kept.generation), "timeCreated": WRITTEN.format(kept.generation % 60), **json.loads(kept.attributes),
        }  # fmt: skip

    def _read(self, query: Mapping[str, str], name: str) -> Response:
        kept = self.objects.get(name)
        if not kept:
            return _answer(404)
        if query.get("alt") == "media":
            encoding = json.loads(kept.attributes).get("contentEncoding", "")
            return Response(200, kept.data, [f"Content-Encoding: {encoding}".encode()])
        return _answer(200, self.described(name))

    def _refused(self, query: Mapping[str, str], name: str) -> bool:
        kept = self.objects.get(name)
        return int(query["ifGenerationMatch"]) != (kept.generation if kept else 0)

    def _uploaded(self, query: Mapping[str, str], body: bytes) -> tuple["Bucket", Response]:
        _, described, rest = body.split(f"--{BOUNDARY}\r\n".encode())
        attributes = json.loads(described.partition(b"\r\n\r\n")[2])
        data = rest.partition(b"\r\n\r\n")[2].removesuffix(f"\r\n--{BOUNDARY}--\r\n".encode())
        name = attributes.pop("name")
        if self._refused(query, name):
            return self, _answer(412)
        del attributes["crc32c"]
        after = self.put(name, data, json.dumps(attributes))
        return after, _answer(200, after.described(name))

    def _rewritten(self, query: Mapping[str, str], source: str, target: str) -> tuple["Bucket", Response]:
        if source not in self.objects:
            return self, _answer(404)
        if self._refused(query, target):
            return self, _answer(412)
        after = self.put(target, self.objects[source].data, self.objects[source].attributes)
        return after, _answer(200, {"done": True, "resource": after.described(target)})

    def _changed(self, query: Mapping[str, str], request: Request, name: str) -> tuple["Bucket", Response]:
        if name not in self.objects:
            return self, _answer(404)
        if self._refused(query, name):
            return self, _answer(412)
        if request.method == "DELETE":
            left = {key: kept for key, kept in self.objects.items() if key != name}
            return self._with(left, self.last), _answer(204)
        kept = self.objects[name]
        attributes = {**json.loads(kept.attributes), **json.loads(cast("bytes", request.body))}
        changed = kept._replace(attributes=json.dumps(attributes))
        return self._with({**self.objects, name: changed}, self.last), _answer(200, {})

    def put(self, name: str, data: bytes, attributes: str = "{}") -> "Bucket":
        """The bucket once an object was written."""
        generation = self.last.get(name, 0) + 1
        kept = Kept(generation, data, attributes)
        return self._with({**self.objects, name: kept}, {**self.last, name: generation})


def _answer(status: int, body: object = None) -> Response:
    return Response(status, b"" if body is None else json.dumps(body).encode())


class Killed(BaseException):
    """Nobody goes on with an operation."""


class Finished(NamedTuple):
    """A run of jobs that is over: which one it was, how far the operation was then, and its results."""

    number: int
    answers: int
    texts: int
    results: list[Any]


class Asked(NamedTuple):
    """What an operation asks, of which any may be answered next, and the run of jobs that ended before it did."""

    requests: Sequence[Request]
    finished: Finished | None


class Ended(NamedTuple):
    """An operation asks nothing any more: what it returned, or the Failure that it raised."""

    outcome: object
    finished: Finished | None


class Answer(NamedTuple):
    """An answer to one of the requests, and the run of jobs that ended with it."""

    chosen: int
    response: Response
    finished: Finished | None


class Live:
    """An operation on a thread of its own, which stands still at each request until it is answered.

    It takes a pool's place for the operation.  What it was answered before, `known`, it is not asked for again: to
    and fro between two threads costs more than all else.  A run of jobs that ended with those answers is not run
    again: its results are the same.
    """

    def __init__(self, operation: Operation, name: str, known: Sequence[Answer] = ()) -> None:
        self._operation = operation
        self._name = name
        self._known = known
        self._over = {one.finished.number: one.finished for one in known if one.finished}
        self._runs = self._answered = self._texts = 0
        self._finished: Finished | None = None
        self._came = SimpleQueue[Asked | Ended]()
        self._answers = SimpleQueue[tuple[int, Response] | None]()
        self._thread = threading.Thread(target=self._carry_out, name=name, daemon=True)
        self.traffic = Traffic()

    def begun(self) -> Asked | Ended:
        """What it asks first, or how it ended."""
        LIVE[self._thread] = self
        self._thread.start()
        return self._came.get()

    def answered(self, chosen: int, response: Response) -> Asked | Ended:
        """What it asks once one of its requests is answered, or how it ended."""
        self._answers.put((chosen, response))
        return self._came.get()

    def kill(self) -> None:
        """End it where it stands."""
        self._answers.put(None)
        self._thread.join()

    def text(self) -> bytes:
        """What is random elsewhere: the same texts in each run."""
        self._texts += 1
        return f"{self._name}{self._texts}".encode()

    def _carry_out(self) -> None:
        with suppress(Killed):
            try:
                outcome = self._operation(cast("Pool", self))
            except Failure as failure:
                outcome = failure
            self._came.put(Ended(outcome or SimpleNamespace(), self._finished))

    def ask(self, steps: Any) -> Any:
        """The result of one job."""
        return self.run([Job(steps)])[0]

    def run(self, jobs: Iterable[Job]) -> list[Any]:
        """Run all jobs."""
        steps = [job.steps for job in jobs]
        number, began = self._runs, self._answered
        self._runs += 1
        if over := self._over.get(number):
            self.traffic.requests = self._answered = over.answers
            self._texts = over.texts
            return over.results
        results = self._results(steps)
        if self._answered > began:
            self._finished = Finished(number, self._answered, self._texts, results)
        return results

    def _results(self, steps: Iterable[Any]) -> list[Any]:
        started = [_Started(one) for one in steps]
        while waiting := [one for one in started if one.request]:
            chosen, response = self._answer([one.request for one in waiting if one.request])
            self._answered += 1
            self.traffic.requests += 1
            waiting[chosen].advance(response)
        return [one.result for one in started]

    def _answer(self, requests: Sequence[Request]) -> tuple[int, Response]:
        if self._answered < len(self._known):
            known = self._known[self._answered]
            return known.chosen, known.response
        self._came.put(Asked(requests, self._finished))
        self._finished = None
        answer = self._answers.get()
        if answer is None:
            raise Killed
        return answer


class _Started:
    """A job, with what it asks next."""

    def __init__(self, steps: Any) -> None:
        self._steps = steps
        self.request: Request | None = None
        self.result: Any = None
        self.advance(None)

    def advance(self, response: Response | None) -> None:
        try:
            step = self._steps.send(response)
            while isinstance(step, Pause):
                step = self._steps.send(None)
        except StopIteration as end:
            self.request, self.result = None, end.value
        else:
            self.request = cast("Request", step)


@dataclass(eq=False)
class Point:
    """How far an operation is: what it asks now, or how it ended.

    Args:
        asked: requests, of which any may be the next to arrive.
        outcome: what it returned, or the Failure that it raised; None while it is under way.
        answers: what it was answered before.
        live: stands here; None once it went on.
    """

    asked: Sequence[Request]
    outcome: object
    answers: tuple[Answer, ...] = ()
    live: Live | None = None
    following: dict[tuple[int, int, bytes], "Point"] = field(default_factory=dict)


class Running:
    """An operation, run as often as it takes to know all that it can ask.

    Args:
        operation: what is run.
        name: tells its random texts from those of others.
    """

    def __init__(self, operation: Operation, name: str) -> None:
        self._operation = operation
        self._name = name
        self.start = self._begun()

    def after(self, point: Point, chosen: int, response: Response) -> Point:
        """The point that follows when the chosen request is answered so."""
        key = (chosen, response.status, response.body)
        if key not in point.following:
            point.following[key] = self._followed(point, chosen, response)
        return point.following[key]

    def kill(self) -> None:
        """End what stands at any point."""
        left = [self.start]
        while left:
            point = left.pop()
            left += point.following.values()
            if point.live:
                point.live.kill()

    def _followed(self, point: Point, chosen: int, response: Response) -> Point:
        """The first time, what stands there goes on; then it is brought there again."""
        live = point.live or self._brought_to(point)
        point.live = None
        came = live.answered(chosen, response)
        return _point(live, came, (*point.answers, Answer(chosen, response, came.finished)))

    def _brought_to(self, point: Point) -> Live:
        live = Live(self._operation, self._name, point.answers)
        live.begun()
        return live

    def _begun(self) -> Point:
        live = Live(self._operation, self._name)
        return _point(live, live.begun())


def _point(live: Live, came: Asked | Ended, answers: tuple[Answer, ...] = ()) -> Point:
    if isinstance(came, Ended):
        return Point((), came.outcome, answers)
    return Point(came.requests, None, answers, live)


LIVE: dict[threading.Thread, Live] = {}


def repeated_texts(patch: pytest.MonkeyPatch) -> None:
    """Make the operations' random texts the same in each run."""
    urandom = os.urandom

    def text(size: int) -> bytes:
        live = LIVE.get(threading.current_thread())
        return live.text() if live else urandom(size)

    patch.setattr("os.urandom", text)


class State(NamedTuple):
    """A bucket, and how far each operation is."""

    bucket: Bucket
    points: tuple[Point, ...]

    @property
    def outcomes(self) -> list[object]:
        return [point.outcome for point in self.points]


def in_turn(asked: Sequence[Request]) -> Iterable[int]:
    """The requests that one operation sends at once arrive in the order in which they were sent."""
    return range(min(1, len(asked)))


def from_both_ends(asked: Sequence[Request]) -> Iterable[int]:
    """Or in the opposite order, or in any that takes the first or the last of those that are left."""
    return sorted({0, len(asked) - 1}) if asked else ()


def in_any_order(asked: Sequence[Request]) -> Iterable[int]:
    return range(len(asked))


def states(bucket: Bucket, running: Sequence[Running], order: Order = in_turn) -> Iterator[State]:
    """Every state that can be reached, once: all orders between operations, within each those of `order`."""
    first = State(bucket, tuple(one.start for one in running))
    seen, left = {_key(first)}, [first]
    while left:
        state = left.pop()
        yield state
        for following in _following(state, running, order):
            if (key := _key(following)) not in seen:
                seen.add(key)
                left.append(following)


def _key(state: State) -> tuple[object, ...]:
    return id(state.bucket), *map(id, state.points)


def _following(state: State, running: Sequence[Running], order: Order) -> Iterator[State]:
    for number, (one, point) in enumerate(zip(running, state.points, strict=True)):
        for chosen in order(point.asked):
            bucket, response = state.bucket.answered(point.asked[chosen])
            after = one.after(point, chosen, response)
            yield State(bucket, (*state.points[:number], after, *state.points[number + 1 :]))


def walk(bucket: Bucket, running: Sequence[Running], choices: Iterable[int]) -> Iterator[State]:
    """The states that follow one another where each choice says which comes next; then operations come to an end."""
    state = State(bucket, tuple(one.start for one in running))
    following = list(_following(state, running, in_any_order))
    left = iter(choices)
    while following:
        state = following[next(left, 0) % len(following)]
        yield state
        following = list(_following(state, running, in_any_order))


def done(bucket: Bucket, one: Running) -> State:
    """The state once an operation was carried out with nobody else there."""
    state = State(bucket, (one.start,))
    while state.points[0].asked:
        state = next(_following(state, [one], in_turn))
    return state
