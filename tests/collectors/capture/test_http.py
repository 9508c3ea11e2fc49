"""One bounded GET against a server that behaves badly in every way."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engram_diagnose.collectors.capture.http import REFUSED, _public, get, http_answer
from engram_diagnose.collectors.capture.machine import Machine


class Handler(BaseHTTPRequestHandler):
    seen: dict[str, str | None]

    def do_GET(self) -> None:
        self.server.seen = {"authorization": self.headers.get("Authorization")}  # type: ignore[attr-defined]
        status = {"/missing": 404, "/locked": 401, "/down": 503, "/moved": 302}.get(self.path, 200)
        body = b"x" * 5000 if self.path == "/large" else b'{"snapshot": {}}'
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://192.0.2.1/")
        length = len(body) + (10 if self.path == "/cut" else 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def url(server: HTTPServer, path: str = "/metrics") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_a_body_is_read_with_the_token_in_its_header(server: HTTPServer) -> None:
    reading = get(url(server), token="t0ken")
    assert reading.body == '{"snapshot": {}}'
    assert server.seen == {"authorization": "Bearer t0ken"}  # type: ignore[attr-defined]


def test_the_answer_is_named_by_its_path(server: HTTPServer) -> None:
    machine = Machine("id", now=lambda: 7.0)
    answer = http_answer(machine, url(server, "/"), "/api/v1/memories?limit=0")
    assert (answer.collector, answer.name, answer.time) == ("http", "/api/v1/memories?limit=0", 7.0)
    assert answer.answered


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("/missing", "SOURCE_ABSENT", "404"),
        ("/locked", "SOURCE_UNREACHABLE", "bearer token"),
        ("/down", "SOURCE_UNREACHABLE", "503"),
        ("/moved", "SOURCE_UNREACHABLE", "redirects"),
        ("/cut", "SOURCE_UNREACHABLE", "10 bytes missing"),
    ],
)
def test_what_is_not_an_answer_is_a_reason(server: HTTPServer, path: str, reason: str, words: str) -> None:
    reading = get(url(server, path))
    assert (reading.body, reading.reason) == (None, reason)
    assert words in reading.detail


def test_an_answer_beyond_the_limit_is_not_kept(server: HTTPServer) -> None:
    assert get(url(server, "/large"), limit_bytes=4999).reason == "TOO_EXPENSIVE"
    assert get(url(server, "/large"), limit_bytes=5000).body == "x" * 5000


def test_a_port_where_nothing_listens_refuses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reading = get(f"http://127.0.0.1:{port}/health")
    assert reading.reason == "SOURCE_UNREACHABLE"
    assert reading.detail.startswith(REFUSED)


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
        thread.join()


def test_a_server_that_drips_is_given_up_in_time() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(400):
            try:
                connection.sendall(b"x")
            except OSError:
                left.append(True)
                return
            time.sleep(0.05)

    left: list[bool] = []
    with raw_server(drip) as address:
        reading = get(address, timeout_seconds=0.2)
    assert reading.reason == "SOURCE_UNREACHABLE"
    assert left, "it waited for the last drop, 20 s long"


def test_a_server_that_speaks_no_http_is_a_reason() -> None:
    def babble(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

    with raw_server(babble) as address:
        assert get(address, timeout_seconds=2).reason == "SOURCE_UNREACHABLE"


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://h/",
        "http://",
        "http://[::1/",
        "http://h:port/",
        "http://user:hunter2@127.0.0.1/",
        "http://127.0.0.1/a b",
        "",
        "http://\udc80/",
    ],
)
def test_an_address_that_is_none_is_a_reason(address: str) -> None:
    reading = get(address, timeout_seconds=2)
    assert reading.reason == "SOURCE_UNREACHABLE"
    assert "hunter2" not in reading.detail


def test_a_token_never_stands_in_a_message() -> None:
    for token in ("hun\nter2", "hunter2☃"):
        reading = get("http://127.0.0.1:1/", token=token)
        assert reading.reason == "SOURCE_UNREACHABLE"
        assert "ter2" not in reading.detail


def test_where_a_redirect_leads_is_told_without_secrets() -> None:
    assert _public("https://u:hunter2@db1/new?token=hunter2#x") == "https://db1/new"
    assert _public("/new?token=hunter2") == "/new"
