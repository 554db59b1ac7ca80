"""All orders in which the requests of operations at once can reach a bucket, with the operations' real code.

An operation is a function that is given a pool.  To learn what it asks next, it is run from its beginning and
answered what it was answered before, up to the first request that has no answer yet: so one state of the
bucket and of all operations leads to each of those that can follow, and a state is visited once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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


@dataclass(frozen=True)
class Bucket:
    """What a bucket holds, and the last generation that each name had: none is ever given twice."""

    objects: Mapping[str, Kept] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def key(self) -> tuple[object, ...]:
        return tuple(sorted(self.objects.items())), tuple(sorted(self.last.items()))

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
            return Bucket(left, self.last), _answer(204)
        kept = self.objects[name]
        attributes = {**json.loads(kept.attributes), **json.loads(cast("bytes", request.body))}
        changed = kept._replace(attributes=json.dumps(attributes))
        return Bucket({**self.objects, name: changed}, self.last), _answer(200, {})

    def put(self, name: str, data: bytes, attributes: str = "{}") -> "Bucket":
        """The bucket once an object was written."""
        generation = self.last.get(name, 0) + 1
        kept = Kept(generation, data, attributes)
        return Bucket({**self.objects, name: kept}, {**self.last, name: generation})


def _answer(status: int, body: object = None) -> Response:
    return Response(status, b"" if body is None else json.dumps(body).encode())


class Asked(BaseException):
    """An operation has come to requests that have no answer yet."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__()
        self.requests = requests


class Replay:
    """Takes a pool's place: answers what was answered before."""

    def __init__(self, answers: Iterable[tuple[int, Response]]) -> None:
        self._answers = iter(answers)
        self.traffic = Traffic()

    def ask(self, steps: Any) -> Any:
        """The result of one job."""
        return self.run([Job(steps)])[0]

    def run(self, jobs: Iterable[Job]) -> list[Any]:
        """Run all jobs, as far as there are answers."""
        started = [_Started(job.steps) for job in jobs]
        while waiting := [one for one in started if one.request]:
            chosen, response = next(self._answers, (0, None))
            if response is None:
                raise Asked([one.request for one in waiting if one.request])
            self.traffic.requests += 1
            waiting[chosen].advance(response)
        return [one.result for one in started]


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
    """

    asked: Sequence[Request]
    outcome: object
    answers: tuple[tuple[int, Response], ...]
    following: dict[tuple[int, int, bytes], "Point"] = field(default_factory=dict)


class Running:
    """An operation, run as often as it takes to know all that it can ask.

    Args:
        operation: what is run.
        name: tells its random texts from those of others.
        patch: puts these in their place.
    """

    def __init__(self, operation: Operation, name: str, patch: pytest.MonkeyPatch) -> None:
        self._operation = operation
        self._name = name
        self._patch = patch
        self.start = self._point(())

    def after(self, point: Point, chosen: int, response: Response) -> Point:
        """The point that follows when the chosen request is answered so."""
        key = (chosen, response.status, response.body)
        if key not in point.following:
            point.following[key] = self._point((*point.answers, (chosen, response)))
        return point.following[key]

    def _point(self, answers: tuple[tuple[int, Response], ...]) -> Point:
        numbers = iter(range(1000))
        self._patch.setattr("os.urandom", lambda _size: f"{self._name}{next(numbers)}".encode())
        try:
            outcome = self._operation(cast("Pool", Replay(answers)))
        except Asked as asked:
            return Point(asked.requests, None, answers)
        except Failure as failure:
            outcome = failure
        return Point((), outcome or SimpleNamespace(), answers)


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
    return state.bucket.key, tuple(id(point) for point in state.points)


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
