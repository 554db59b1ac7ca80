"""Many HTTP requests at once on one thread: libcurl moves the bytes, generators say what to ask next.

A job is a generator that yields a Request or a Pause, is sent the Response, and returns a result.  It never
blocks, so hundreds run side by side; what to do about an error is the job's own matter.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field

from tasks.lib import signals

if TYPE_CHECKING:
    from tasks.lib.ember.access import Access

Result = TypeVar("Result")
CONNECT_LIMIT = 10
# Without an answer, a pool looks this often whether a signal came.
LONGEST_WAIT = 1.0
# A stream may take as long as it moves at least this fast.
SLOWEST_BYTES_PER_SECOND = 1 << 10
# Bodies held in memory by all jobs together, beyond which no further job is started.
MOST_HELD = 32 << 20
UNREACHABLE = 0


class Stream(Struct, frozen=True):
    """A body that is read while it is sent: `size` bytes of what `opened` returns."""

    opened: Callable[[], IO[bytes]]
    size: int


class Request(Struct, frozen=True):
    """One HTTP request; the token is added when it is sent, unless it is what the public would ask."""

    method: str
    url: str
    headers: tuple[str, ...] = ()
    body: bytes | Stream = b""
    public: bool = False


class Response(Struct, frozen=True):
    """The answer; with status UNREACHABLE there is none, and the body says why."""

    status: int
    body: bytes
    header_lines: list[bytes] = field(default_factory=list)

    def header(self, name: str) -> str:
        """The value of a header, or an empty text."""
        for line in self.header_lines:
            key, _, value = line.decode("latin-1").partition(":")
            if key.strip().lower() == name.lower():
                return value.strip()
        return ""


class Pause(Struct, frozen=True):
    """Wait so many seconds before going on."""

    seconds: float


Steps = Generator[Request | Pause, Response | None, Result]


class Job(Struct, frozen=True):
    """Steps to run.

    Args:
        held: the bytes it keeps in memory until it is done.
        alone: no further job may be started before this one ends.
    """

    steps: Steps[Any]
    held: int = 0
    alone: bool = False


class Traffic(Struct):
    """What went over the wire."""

    requests: int = 0
    connections: int = 0


class Pool:
    """Runs jobs, at most `connections` requests at a time, on the thread that asks for it."""

    def __init__(self, access: "Access", connections: int) -> None:
        import pycurl

        # Its own type information leaves out what its C part defines.
        self._curl: Any = pycurl
        self._multi = self._curl.CurlMulti()
        self._multi.setopt(self._curl.M_MAXCONNECTS, connections)
        self._idle: list[Any] = []
        self._access = access
        self._connections = connections
        self._running: dict[Any, _Exchange] = {}
        self._paused: list[tuple[float, int, _Running]] = []
        self._order = itertools.count()
        self._held = 0
        self._alone = 0
        self.traffic = Traffic()

    def ask(self, steps: Steps[Result]) -> Result:
        """The result of one job."""
        found: Result = self.run([Job(steps)])[0]
        return found

    def run(self, jobs: Iterable[Job]) -> list[Any]:
        """The results of all jobs, in their order; what one raises ends them all and is raised here."""
        waiting = iter(jobs)
        results: list[Any] = []
        try:
            while self._start(waiting, results) or self._running or self._paused:
                signals.check()
                self._resume()
                self._move()
        finally:
            self._abandon()
        return results

    def close(self) -> None:
        """Close all connections."""
        for handle in self._idle:
            handle.close()
        self._idle.clear()
        self._multi.close()

    def _start(self, waiting: Iterator[Job], results: list[Any]) -> bool:
        """Start as many further jobs as there is room for; False when there are none left."""
        while self._has_room():
            signals.check()
            job = next(waiting, None)
            if job is None:
                return False
            self._held += job.held
            self._alone += job.alone
            results.append(None)
            self._advance(_Running(job, results, len(results) - 1), None)
        return True

    def _has_room(self) -> bool:
        busy = len(self._running) + len(self._paused)
        if not busy:
            return True
        return not self._alone and self._held < MOST_HELD and busy < self._connections

    def _advance(self, running: "_Running", response: Response | None) -> None:
        try:
            step = running.job.steps.send(response)
        except StopIteration as end:
            running.results[running.number] = end.value
            self._held -= running.job.held
            self._alone -= running.job.alone
            return
        if isinstance(step, Pause):
            heapq.heappush(self._paused, (time.monotonic() + step.seconds, next(self._order), running))
        else:
            self._send(running, step)

    def _resume(self) -> None:
        while self._paused and self._paused[0][0] <= time.monotonic():
            self._advance(heapq.heappop(self._paused)[2], None)

    def _send(self, running: "_Running", request: Request) -> None:
        handle = self._idle.pop() if self._idle else self._curl.Curl()
        exchange = self._running[handle] = _Exchange(running, request)
        exchange.prepare(handle, self._curl, self._access)
        self._multi.add_handle(handle)
        exchange.added = True

    def _move(self) -> None:
        """Move bytes, and hand the answers that are complete to their jobs; without any, wait."""
        while self._multi.perform()[0] == self._curl.E_CALL_MULTI_PERFORM:
            pass
        done = self._collected()
        for handle, error in done:
            self._finish(handle, error)
        if done:
            return
        seconds = max(0.0, self._paused[0][0] - time.monotonic()) if self._paused else LONGEST_WAIT
        if self._running:
            self._multi.select(min(LONGEST_WAIT, seconds))
        elif self._paused:
            signals.sleep(seconds)

    def _collected(self) -> list[tuple[Any, str]]:
        found: list[tuple[Any, str]] = []
        left = 1
        while left:
            left, done, failed = self._multi.info_read()
            found.extend((handle, "") for handle in done)
            found.extend((handle, f"{why or 'libcurl error'} ({code})") for handle, code, why in failed)
        return found

    def _finish(self, handle: Any, error: str) -> None:
        """Hand an answer to its job."""
        exchange = self._running.pop(handle)
        self._multi.remove_handle(handle)
        self.traffic.requests += 1
        self.traffic.connections += handle.getinfo(self._curl.NUM_CONNECTS)
        status = handle.getinfo(self._curl.RESPONSE_CODE)
        handle.reset()
        self._idle.append(handle)
        self._advance(exchange.running, exchange.response(status, error))

    def _abandon(self) -> None:
        for handle, exchange in self._running.items():
            if exchange.added:
                self._multi.remove_handle(handle)
            handle.reset()
            self._idle.append(handle)
            exchange.running.job.steps.close()
        for _, _, running in self._paused:
            running.job.steps.close()
        self._running.clear()
        self._paused.clear()
        self._held = self._alone = 0


class _Running(Struct, frozen=True):
    """A job that was started, and where its result goes."""

    job: Job
    results: list[Any]
    number: int


class _Exchange:
    """A request on its way."""

    def __init__(self, running: _Running, request: Request) -> None:
        self.running = running
        self.added = False  # to what libcurl has on its way
        self._request = request
        self._lines: list[bytes] = []
        self._body: list[bytes] = []
        self._error: BaseException | None = None

    def prepare(self, handle: Any, curl: Any, access: "Access") -> None:
        """Tell libcurl what to send."""
        request = self._request
        token = () if request.public else access.headers()
        handle.setopt(curl.URL, request.url)
        handle.setopt(curl.HTTPHEADER, [*request.headers, *token, "Expect:"])
        handle.setopt(curl.HTTP_VERSION, curl.CURL_HTTP_VERSION_1_1)
        handle.setopt(curl.PROTOCOLS, curl.PROTO_HTTP | curl.PROTO_HTTPS)
        handle.setopt(curl.NOSIGNAL, 1)
        handle.setopt(curl.CAINFO, access.ca_file)
        handle.setopt(curl.CONNECTTIMEOUT, CONNECT_LIMIT)
        handle.setopt(curl.HEADERFUNCTION, self._lines.append)
        handle.setopt(curl.WRITEFUNCTION, self._body.append)
        if isinstance(request.body, Stream):
            self._prepare_stream(handle, curl, request.body, access.attempt_limit)
        else:
            handle.setopt(curl.TIMEOUT_MS, int(access.attempt_limit * 1000))
            if request.body or request.method in {"POST", "PUT", "PATCH"}:
                handle.setopt(curl.POSTFIELDS, request.body)
            handle.setopt(curl.CUSTOMREQUEST, request.method)
            if request.method == "HEAD":  # by its name alone, libcurl would wait for the body it tells of
                handle.setopt(curl.NOBODY, 1)

    def _prepare_stream(self, handle: Any, curl: Any, body: Stream, stall_limit: float) -> None:
        handle.setopt(curl.UPLOAD, 1)
        handle.setopt(curl.CUSTOMREQUEST, self._request.method)
        handle.setopt(curl.INFILESIZE_LARGE, body.size)
        handle.setopt(curl.UPLOAD_BUFFERSIZE, 1 << 20)
        handle.setopt(curl.LOW_SPEED_LIMIT, SLOWEST_BYTES_PER_SECOND)
        handle.setopt(curl.LOW_SPEED_TIME, max(1, int(stall_limit)))
        stream, abort = body.opened(), curl.READFUNC_ABORT

        def read(size: int) -> bytes | int:
            try:
                return stream.read(size)
            except BaseException as error:  # an interruption too: response() raises it
                self._error = error
                return int(abort)

        handle.setopt(curl.READFUNCTION, read)

    def response(self, status: int, error: str) -> Response:
        """The answer, or why there is none.

        Raises:
            BaseException: what reading the body raised.

        """
        if self._error:
            raise self._error
        if error:
            return Response(UNREACHABLE, error.encode())
        return Response(status, b"".join(self._body), self._lines)
