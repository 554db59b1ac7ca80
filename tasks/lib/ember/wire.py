"""Many HTTP requests at once on one thread: a line moves the bytes, generators say what to ask next.

A job is a generator that yields a Request or a Pause and is sent the Response.  It never blocks, so
hundreds run side by side; what to do about an error is the job's own matter.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct, field

from tasks.lib import signals
from tasks.lib.ember.line import LONGEST_WAIT, Carrier, Ended

if TYPE_CHECKING:
    from tasks.lib.ember.access import Access

CONNECT_LIMIT = 10
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


Steps = Generator[Request | Pause, Response | None, None]


class Job(Struct, frozen=True):
    """Steps to run.

    Args:
        steps: the generator.
        held: the bytes it keeps in memory until it is done.
        alone: no further job may be started before this one ends.
    """

    steps: Steps
    held: int = 0
    alone: bool = False


class Traffic(Struct):
    """What went over the wire."""

    requests: int = 0
    connections: int = 0
    sent: int = 0


class Pool:
    """Runs jobs, as many at a time as their line has room for, on the thread that asks for it.

    Args:
        access: adds the token.
        line: carries the requests; the pool closes it.
        most_held: bodies held in memory by all jobs together, beyond which no further job is started.
    """

    def __init__(self, access: "Access", line: Carrier, most_held: int = MOST_HELD) -> None:
        import pycurl

        # Its own type information leaves out what its C part defines.
        self._curl: Any = pycurl
        self._access = access
        self._line = line
        self._most_held = most_held
        self._running: dict[Any, _Exchange] = {}
        self._paused: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._held = 0
        self._alone = 0
        self._stopped = False
        self.traffic = Traffic()

    def run(self, jobs: Iterable[Job]) -> None:
        """Run all jobs to their end; what one raises ends them all and is raised here.

        Raises:
            Ended: `stop` was called, or the line was ended.

        """
        waiting = iter(jobs)
        try:
            while self._start(waiting) or self._running or self._paused:
                signals.check()
                if self._stopped:
                    raise Ended
                self._resume()
                for handle, error in self._line.finished(self._until_resume()):
                    self._finish(handle, error)
        finally:
            self._abandon()

    def stop(self) -> None:
        """Make `run` on another thread end soon, now and whenever it is called again."""
        self._stopped = True

    def close(self) -> None:
        """Close the line."""
        self._line.close()

    def _start(self, waiting: Iterator[Job]) -> bool:
        """Start as many further jobs as there is room for; False when there are none left."""
        while self._has_room():
            signals.check()
            job = next(waiting, None)
            if job is None:
                return False
            self._held += job.held
            self._alone += job.alone
            self._advance(job, None)
        return True

    def _has_room(self) -> bool:
        busy = len(self._running) + len(self._paused)
        if not busy:
            return True
        return not self._alone and self._held < self._most_held and busy < self._line.room

    def _advance(self, job: Job, response: Response | None) -> None:
        try:
            step = job.steps.send(response)
        except StopIteration:
            self._held -= job.held
            self._alone -= job.alone
            return
        if isinstance(step, Pause):
            heapq.heappush(self._paused, (time.monotonic() + step.seconds, next(self._order), job))
        else:
            self._send(job, step)

    def _resume(self) -> None:
        while self._paused and self._paused[0][0] <= time.monotonic():
            self._advance(heapq.heappop(self._paused)[2], None)

    def _send(self, job: Job, request: Request) -> None:
        handle = self._line.handle()
        exchange = self._running[handle] = _Exchange(job, request)
        exchange.prepare(handle, self._curl, self._access)
        self._line.send(handle)

    def _until_resume(self) -> float:
        if self._paused:
            return max(0.0, self._paused[0][0] - time.monotonic())
        return LONGEST_WAIT if self._running else 0.0

    def _finish(self, handle: Any, error: str) -> None:
        """Hand an answer to its job."""
        exchange = self._running.pop(handle)
        self.traffic.requests += 1
        self.traffic.connections += handle.getinfo(self._curl.NUM_CONNECTS)
        self.traffic.sent += int(handle.getinfo(self._curl.SIZE_UPLOAD_T))
        status = handle.getinfo(self._curl.RESPONSE_CODE)
        self._line.give_back(handle)
        self._advance(exchange.job, exchange.response(status, error))

    def _abandon(self) -> None:
        self._line.withdraw()
        for handle, exchange in self._running.items():
            self._line.give_back(handle)
            exchange.job.steps.close()
        for _, _, job in self._paused:
            job.steps.close()
        self._running.clear()
        self._paused.clear()
        self._held = self._alone = 0


class _Exchange:
    """A request on its way."""

    def __init__(self, job: Job, request: Request) -> None:
        self.job = job
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
