"""Servers on the loopback interface, each answering in a thread of the test."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class StubServer(ThreadingHTTPServer):
    """Answers each request with a function; fails the first ones with the given status codes."""

    daemon_threads = True
    nonsense = "nonsense"

    def __init__(self, answer: Any, statuses: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.statuses = list(statuses)
        self.requests: list[Any] = []
        self.keys: list[str | None] = []
        self.n_requests = 0

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that have disconnected."""


class _Handler(BaseHTTPRequestHandler):
    server: StubServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.server.n_requests += 1
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.statuses:
            self._send(self.server.statuses.pop(0), b"not now")
        elif self.server.answer is StubServer.nonsense:
            self._send(200, b"<html>")
        else:
            self._send(200, json.dumps(self.server.answer(request)).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Disables the request log."""


@contextmanager
def stub_server(
    answer: Callable[[Any], Any] | str, statuses: Sequence[int] = ()
) -> Generator[StubServer]:
    """A server that runs during a `with` block."""
    stub = StubServer(answer, statuses)
    thread = Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        stub.shutdown()
        stub.server_close()
        thread.join()
