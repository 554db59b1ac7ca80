"""What the sandbox's HTTP servers have in common: reading a body, writing an answer."""

from http.server import BaseHTTPRequestHandler

BIGGEST_REQUEST = 1024**2


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits until its header is acknowledged: 40 ms

    def body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), BIGGEST_REQUEST))

    def answer(self, status: int, text: str, kind: str = "application/json; charset=UTF-8") -> None:
        """Write a whole answer."""
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
