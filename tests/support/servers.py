"""Servers on the loopback interface, each answering in a thread of the test."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Stub(ThreadingHTTPServer):
    """Answers each question by a function; the first ones by a status code alone."""

    daemon_threads = True
    nonsense = "nonsense"

    def __init__(self, answer: Any, statuses: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.statuses = list(statuses)
        self.asked: list[Any] = []
        self.keys: list[str | None] = []
        self.n_asked = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: Stub  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        self.server.n_asked += 1
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.statuses:
            self._send(self.server.statuses.pop(0), b"not now")
        elif self.server.answer is Stub.nonsense:
            self._send(200, b"<html>")
        else:
            self._send(200, json.dumps(self.server.answer(asked)).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def listening(answer: Callable[[Any], Any] | str, statuses: Sequence[int] = ()) -> Generator[Stub]:
    """A server for the length of a block."""
    stub = Stub(answer, statuses)
    thread = Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        stub.shutdown()
        stub.server_close()
        thread.join()
