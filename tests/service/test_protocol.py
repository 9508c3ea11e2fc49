"""Callers who are slow, many or hostile cost the others nothing."""

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from half_open import half_open

HALF = b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
ALERT = json.dumps(
    {
        "version": "4",
        "status": "firing",
        "receiver": "r",
        "groupKey": "g",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "A", "instance": "i"},
                "annotations": {},
                "startsAt": "2026-11-22T03:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
            }
        ],
    }
).encode()


@dataclass(frozen=True)
class Bare:
    """A running service whose parts do nothing."""

    process: "subprocess.Popen[str]"
    port: int
    log: Path

    def socket(self, sent: bytes = b"", *, seconds: float = 20) -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self.port), timeout=seconds)
        found.sendall(sent)
        return found

    def answer(self, sent: bytes) -> bytes:
        """Everything that comes back until the connection is closed or nothing more comes."""
        with self.socket(sent, seconds=5) as connection:
            return received(connection)

    def status(self, sent: bytes) -> int:
        return status_of(self.answer(sent))

    def post(self, body: bytes = ALERT, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", "/api/v1/alerts", body, **headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()


def received(connection: socket.socket) -> bytes:
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
            if b"\r\n\r\n" in found and b"connection: close" not in found.lower():
                connection.settimeout(0.3)
    except OSError:
        pass
    return found


def until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += connection.recv(65536) or end
    return found


def status_of(answer: bytes) -> int:
    line = re.match(rb"HTTP/1\.1 ([0-9]{3})", answer)
    return int(line.group(1)) if line else 0


Start = Callable[..., Bare]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(settings: str = "", *, descriptors: int = 0, **environment: str) -> Bare:
        path, log = tmp_path / "serve.toml", tmp_path / "log"
        path.write_text('listen = "127.0.0.1:0"\n' + settings)

        def limit() -> None:
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with log.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("bare_service.py")), str(path)],
                stdout=subprocess.PIPE, stderr=stderr, text=True, preexec_fn=limit, env=os.environ | environment,
            )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        return Bare(process, int(line), log)

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def closed_after(connection: socket.socket) -> float:
    """Seconds until the other side closes."""
    begun = time.monotonic()
    received(connection)
    return time.monotonic() - begun


def refused_after(connection: socket.socket, piece: bytes, *, pause: float) -> float:
    """Seconds until no further piece is taken; 20 when all are."""
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < 20:
            connection.sendall(piece)
            time.sleep(pause)
    except OSError:  # reset, broken pipe or blocked for too long, as it happens
        pass
    return time.monotonic() - begun


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_1500_half_open_connections_with_1024_descriptors_keep_nobody_out_for_long(start: Start, loop: str) -> None:
    service = start(descriptors=1024, BARE_SERVICE_LOOP=loop)
    with half_open(service.port, 1500, HALF):
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            try:
                if service.post()[0] == 202:
                    break
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
        took = time.monotonic() - begun
    assert took < 10


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST", HALF, HALF + b"\r\n" + b"x" * 10, b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nX: "],
    ids=["nothing", "a method", "half a head", "half a body", "half a header"],
)
def test_a_request_that_is_not_whole_by_the_deadline_is_cut_off(start: Start, sent: bytes) -> None:
    service = start("[limits]\ndeadline_seconds = 0.5\n")
    with service.socket(sent) as connection:
        assert 0.3 < closed_after(connection) < 3


def test_a_caller_who_sends_a_little_all_the_time_gains_nothing(start: Start) -> None:
    service = start("[limits]\ndeadline_seconds = 0.5\n")
    with service.socket(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n") as connection:
        assert refused_after(connection, b"X: y\r\n", pause=0.05) < 3


def test_blank_lines_between_requests_do_not_keep_a_connection_for_ever(start: Start) -> None:
    service = start("[limits]\ndeadline_seconds = 0.5\n")
    with service.socket(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        assert status_of(connection.recv(65536)) == 200
        assert refused_after(connection, b"\r\n", pause=0.05) < 3


def test_a_connection_without_a_question_stays_open_and_serves_again(start: Start) -> None:
    service = start("[limits]\ndeadline_seconds = 0.5\n")
    question = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with service.socket(question) as connection:
        assert status_of(until(connection, b"healthy\n")) == 200
        time.sleep(1)
        connection.sendall(question)
        assert status_of(until(connection, b"healthy\n")) == 200


def test_an_answer_that_takes_longer_than_the_deadline_still_comes(start: Start) -> None:
    service = start("[limits]\ndeadline_seconds = 0.5\n", BARE_SERVICE_DELAY="1.5")
    assert service.post()[0] == 202


def test_a_new_caller_takes_the_place_of_the_one_that_waited_longest(start: Start) -> None:
    service = start("[limits]\nconnections = 3\n")
    first = service.socket(HALF)
    time.sleep(0.1)
    others = [service.socket(HALF) for _ in range(2)]
    time.sleep(0.1)
    assert service.post()[0] == 202
    assert closed_after(first) < 1
    for connection in others:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.close()
    first.close()


def test_when_all_are_being_served_a_further_caller_is_told_to_come_again(start: Start) -> None:
    service = start("[limits]\nconnections = 2\n", BARE_SERVICE_DELAY="2")
    head = b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(ALERT)
    busy = [service.socket(head + ALERT) for _ in range(2)]
    time.sleep(0.3)
    answer = service.answer(b"")
    assert status_of(answer) == 503
    assert b"retry-after" in answer
    for connection in busy:
        assert status_of(connection.recv(65536)) == 202
        connection.close()


def test_a_head_that_does_not_end_is_refused(start: Start) -> None:
    service = start()
    assert service.status(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000) == 431
    assert service.status(b"GET /" + b"a" * 200_000) == 431
    many = b"".join(b"X-%d: y\r\n" % number for number in range(20_000))
    assert service.status(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n" + many) == 431


HEAD = b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        HEAD + b"Content-Length: 4, 5\r\n\r\nabcde",
        HEAD + b"Content-Length: +4\r\n\r\nabcd",
        HEAD + b"Content-Length: 0x4\r\n\r\nabcd",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length : 4\r\n\r\nabcd",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
        HEAD + b"Content-Length: 4\r\n folded: x\r\n\r\nabcd",
        HEAD + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"X: a\nY: b\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Host: other\r\nContent-Length: 0\r\n\r\n",
        b"POST /api/v1/alerts HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /api/v1/alerts HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST http://elsewhere/api/v1/alerts HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\x00\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=str,
)
def test_a_request_that_two_programs_may_understand_differently_is_refused(start: Start, sent: bytes) -> None:
    service = start("[limits]\ndeadline_seconds = 1\n")
    answer = service.answer(sent)
    assert status_of(answer) in (0, 400, 404, 413)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert service.post()[0] == 202


def test_what_follows_a_refused_request_is_not_taken_for_a_request(start: Start) -> None:
    service = start()
    inner = b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(ALERT) + ALERT
    for head in (b"Content-Encoding: gzip\r\n", b"Content-Length: 99999999\r\n", b"Host: twice\r\n"):
        answer = service.answer(HEAD + head + b"\r\n" + inner)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert status_of(answer) in (400, 413, 415)


def test_an_upgrade_is_not_taken(start: Start) -> None:
    service = start()
    upgrade = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    assert status_of(service.answer(upgrade)) == 200
    assert status_of(service.answer(upgrade.replace(b"websocket", b"h2c"))) == 200


def test_a_caller_who_takes_nothing_in_is_cut_off(start: Start) -> None:
    service = start("[limits]\ndeadline_seconds = 0.5\n")
    with service.socket(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        time.sleep(1.5)
        assert b'connections_cut_total{reason="stalled"} 1.0' in service.ask("GET", "/metrics")[2]
        assert len(received(connection)) < 1 << 26


def test_a_caller_who_asks_thousands_of_times_at_once_is_cut_off(start: Start) -> None:
    service = start()
    question = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with service.socket() as connection:
        assert refused_after(connection, question * 1000, pause=0) < 5
    assert b'connections_cut_total{reason="ahead"} 1.0' in service.ask("GET", "/metrics")[2]


def test_a_few_requests_sent_ahead_are_answered_in_turn(start: Start) -> None:
    service = start()
    answer = service.answer(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
    assert answer.count(b"HTTP/1.1 200") == 10


def test_a_request_in_hand_is_answered_before_the_service_ends(start: Start) -> None:
    service = start(BARE_SERVICE_DELAY="1")
    head = b"POST /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(ALERT)
    with service.socket(head + ALERT) as connection:
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        assert status_of(connection.recv(65536)) == 202
    assert service.process.wait(10) == 0


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_a_trailer_is_no_header(start: Start, tmp_path: Path) -> None:
    """What comes behind the body was not there when the request was let in, by this program or one in front of it."""
    (tmp_path / "token").write_text("the-token")
    service = start('[auth]\nbearer_token_files = ["token"]\n')
    body = b"%x\r\n%b\r\n0\r\n" % (len(ALERT), ALERT)
    assert service.status(CHUNKED + body + b"Authorization: Bearer the-token\r\n\r\n") == 401
    assert service.post(authorization="Bearer the-token")[0] == 202


def test_a_body_in_chunks_is_taken_with_small_chunks_extensions_and_trailers(start: Start) -> None:
    service = start()
    pieces = b"".join(b"1;a=b\r\n%c\r\n" % one for one in ALERT)
    answer = service.answer(
        CHUNKED + pieces + b"0\r\nX-Sum: 1\r\n\r\nGET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    assert re.findall(rb"HTTP/1.1 ([0-9]{3})", answer) == [b"202", b"200"]


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (CHUNKED + b"2;x=", b"a" * 10_000),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: " + b"b" * 1000 + b"\r\n"),
        (CHUNKED, b"1;" + b"x" * 1000 + b"\r\na\r\n"),
        (CHUNKED.replace(b"POST /api/v1/alerts", b"GET /-/healthy") + b"2\r\n{}\r\n0\r\n", b"X-Trailer: b\r\n" * 99),
    ],
    ids=["an extension", "trailers", "an extension to each chunk", "trailers after the answer"],
)
def test_what_stands_around_a_body_in_chunks_is_bounded(start: Start, begun: bytes, piece: bytes) -> None:
    service = start()
    with service.socket(begun) as connection:
        assert refused_after(connection, piece, pause=0) < 5
    assert b'connections_cut_total{reason="framing"} 1.0' in service.ask("GET", "/metrics")[2]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://localhost/-/healthy HTTP/1.1", 200),
        (b"GET HTTP://LOCALHOST/-/healthy HTTP/1.1", 200),
        (b"GET http://evil.example/-/healthy HTTP/1.1", 400),
        (b"GET http://localhost:1/-/healthy HTTP/1.1", 400),
        (b"GET http://evil.example@localhost/-/healthy HTTP/1.1", 400),
        (b"GET http://localhost@evil.example/-/healthy HTTP/1.1", 400),
        (b"GET ftp://localhost/-/healthy HTTP/1.1", 400),
        (b"GET http://localhost?/-/healthy HTTP/1.1", 400),
        (b"GET /-/healthy HTTP/2.0", 505),
        (b"GET /-/healthy HTTP/0.9", 505),
        (b"GET /-/healthy HTTP/1.0", 200),
        (b"CONNECT localhost:443 HTTP/1.1", 400),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"GET /-%2Fhealthy HTTP/1.1", 200),
        (b"GET /-/healthy%00 HTTP/1.1", 404),
        (b"GET /%ff%zz/../-/healthy HTTP/1.1", 404),
        (b"GET //-/healthy HTTP/1.1", 404),
        (b"HEAD /-/healthy HTTP/1.1", 200),
    ],
    ids=str,
)
def test_a_request_line_means_one_thing(start: Start, line: bytes, status: int) -> None:
    assert start().status(line + b"\r\nHost: localhost\r\n\r\n") == status


def test_a_host_that_is_empty_is_none(start: Start) -> None:
    service = start()
    assert service.status(b"GET /-/healthy HTTP/1.1\r\nHost:\r\n\r\n") == 400
    assert service.status(b"GET /-/healthy HTTP/1.0\r\n\r\n") == 200


@pytest.mark.parametrize("method", [b"TRACE", b"PROPFIND", b"CONNECT", b"OPTIONS"])
def test_no_method_repeats_what_it_was_sent(start: Start, method: bytes) -> None:
    answer = start().answer(method + b" /-/healthy HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer geheim\r\n\r\n")
    assert status_of(answer) in (400, 404, 405)
    assert b"geheim" not in answer


def test_a_caller_who_takes_in_enough_all_the_time_gets_the_whole_of_a_large_answer(start: Start) -> None:
    """64 MiB, for which the deadline alone would be too short."""
    service = start("[limits]\ndeadline_seconds = 0.5\n")
    found = 0
    with service.socket(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as connection:
        while piece := connection.recv(1 << 20):
            found += len(piece)
            time.sleep(0.02)
    assert found > 1 << 26


def test_a_caller_who_takes_in_a_little_all_the_time_is_cut_off(start: Start) -> None:
    service = start("[limits]\ndeadline_seconds = 1\n")
    with service.socket(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        begun, cut = time.monotonic(), b'connections_cut_total{reason="stalled"} 1.0'
        while cut not in service.ask("GET", "/metrics")[2]:
            connection.recv(100)
            time.sleep(0.05)
            assert time.monotonic() - begun < 15


def test_a_request_sent_ahead_that_is_being_answered_is_not_given_up_for_a_new_caller(start: Start) -> None:
    service = start("[limits]\nconnections = 2\n", BARE_SERVICE_DELAY="1.5")
    post = HEAD + b"Content-Length: %d\r\n\r\n" % len(ALERT) + ALERT
    question = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with service.socket(question + post) as connection:
        until(connection, b"healthy\n")
        time.sleep(0.2)
        others = [service.socket(HALF) for _ in range(4)]
        assert b"202" in received(connection)
        for one in others:
            one.close()
