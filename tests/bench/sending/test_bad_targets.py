"""Servers that misbehave: each is told apart, counted, and left alone soon."""

import socket
import time

import pytest
from tests.bench.sending.sent import sent
from tests.bench.sending.targets import (
    Answering,
    Target,
    answer,
    closes,
    dies,
    endless_body,
    endless_heading,
    hangs,
    resets,
    says,
    well_for,
)

from engram_diagnose.bench.sending.task import Result

GARBAGE = says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
TOO_SOON = 40
"""Good answers before it goes wrong."""


def errors(result: Result) -> dict[str, int]:
    (told,) = (told for _, told in result.told)
    return told.errors


@pytest.mark.parametrize(
    ("then", "word"),
    [
        (says(answer(503, b"{}")), "http-503"),
        (says(answer(500, b"{}")), "http-500"),
        (says(answer(401, b"{}")), "http-401"),
        (says(answer(403, b"{}")), "http-403"),
        (says(answer(404, b"{}")), "http-404"),
        (says(answer(302, b"", b"Location: /there")), "http-302"),
        (says(answer(200, b"<html>It works!</html>")), "garbage"),
        (says(answer(200, b'{"unrelated":1}')), "garbage"),
        (GARBAGE, "garbage"),
        (says(answer(200, length=3)), "garbage"),
        (says(answer() + answer()), "garbage"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), "garbage"),
        (says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "garbage"),
        (endless_heading, "garbage"),
        (endless_body, "garbage"),
        (closes, "closed"),
        (resets, "reset"),
        (dies, "refused"),
    ],
)
def test_a_server_that_goes_wrong_is_named_and_left_alone(then: Answering, word: str) -> None:
    with Target(well_for(TOO_SOON, then)) as target:
        result = sent(target.port, seconds=10.0)
        wrong = target.arrivals[TOO_SOON:]
    assert word in result.aborted
    assert result.aborted.startswith("every request failed for ")
    assert result.told[0][1].ok == TOO_SOON
    assert not wrong or wrong[-1] - wrong[0] < 2.0
    assert result.lasted < 5.0


def test_a_hanging_server_ends_the_load_within_the_time_that_is_given_it() -> None:
    with Target(well_for(TOO_SOON, hangs)) as target:
        result = sent(target.port, seconds=10.0, wait=5.0)
    assert "no answer at all for 1.5 s" in result.aborted
    assert result.lasted < 4.0


def test_requests_that_take_too_long_are_time_outs_and_the_others_go_on() -> None:
    """Every tenth request is never answered."""

    def some_hang(target: Target, connection: socket.socket, number: int) -> bool:
        if number % 10:
            connection.sendall(answer())
        return True

    with Target(some_hang) as target:
        result = sent(target.port, seconds=1.5, wait=0.3, connections=40)
    assert result.aborted == ""
    told = result.told[0][1]
    assert set(told.errors) == {"timeout"}
    assert told.sent == told.ok + told.errors["timeout"] == 300
    assert 25 <= told.errors["timeout"] <= 35


def test_an_answer_shorter_than_it_says_is_a_time_out() -> None:
    with Target(well_for(TOO_SOON, says(answer(200, length=1000)))) as target:
        result = sent(target.port, seconds=10.0, wait=0.3, connections=100)
    assert "timeout" in result.aborted


def test_a_server_that_asks_for_fewer_requests_is_quoted() -> None:
    with Target(well_for(TOO_SOON, says(answer(429, b"{}", b"Retry-After: 17")))) as target:
        result = sent(target.port, seconds=10.0)
    assert "http-429" in result.aborted
    assert result.aborted.endswith("it asks to come back after 17 s")


def test_what_a_server_says_of_coming_back_cannot_write_to_the_terminal() -> None:
    with Target(says(answer(503, b"{}", b"Retry-After: \x1b[2J\x07" + b"9" * 900))) as target:
        result = sent(target.port, seconds=10.0)
    assert "\x1b" not in result.aborted
    assert len(result.aborted) < 200


def test_nothing_that_listens_is_said_before_the_load() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert sent(port, wait=0.3).aborted == "no connection could be made (refused)"


def test_a_name_that_nobody_knows_is_said_before_the_load() -> None:
    assert "is not known" in sent(1, host="no-such-host.invalid").aborted


def test_a_listener_that_never_answers_is_not_waited_for() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        began = time.monotonic()
        result = sent(listener.getsockname()[1], seconds=10.0, wait=5.0)
    assert "no answer at all" in result.aborted
    assert time.monotonic() - began < 5.0


def test_some_failures_do_not_end_a_load() -> None:
    def third_fails(target: Target, connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(500, b"{}") if number % 3 == 0 else answer())
        return True

    with Target(third_fails) as target:
        result = sent(target.port, seconds=2.0)
    told = result.told[0][1]
    assert result.aborted == ""
    assert told.errors == {"http-500": 133}
    assert told.ok == 267


def test_a_pause_of_a_second_is_measured_and_does_not_end_the_load() -> None:
    def pauses(target: Target, connection: socket.socket, number: int) -> bool:
        if number == 100:
            target.stand_still(1.0)
        connection.sendall(answer())
        return True

    with Target(pauses) as target:
        result = sent(target.port, seconds=3.0, wait=5.0, hang=4.0, drain=5.0)
    told = result.told[0][1]
    assert result.aborted == ""
    assert told.errors == {}
    assert told.ok == 600
    # A third of all requests was meant to start in that second: their waits are spread over it.
    assert told.response.quantile(0.99) == pytest.approx(0.97, abs=0.05)
    # Those that waited for a connection were sent late and answered at once.
    assert (told.service.quantile(0.9) or 1.0) < 0.5


def test_a_server_that_closes_after_each_answer_is_served_by_new_connections() -> None:
    def once(target: Target, connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(200, b'{"memories":[]}', b"Connection: close"))
        return False

    with Target(once) as target:
        result = sent(target.port)
        assert target.connections >= 200
    assert result.aborted == ""
    assert result.told[0][1].errors == {}
    assert result.told[0][1].ok == 200


@pytest.mark.parametrize(
    "form",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"mem\r\na\r\nories":[]}\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 15\r\n\r\n{"memories":[]}',
        b'HTTP/1.1 200 OK\r\ncontent-length:15\r\nServer: x\r\n\r\n{"memories":[]}',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"memories":[]}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"results":[]}',
    ],
)
def test_answers_are_good_in_every_form_that_http_knows(form: bytes) -> None:
    with Target(says(form)) as target:
        result = sent(target.port, seconds=0.5)
    assert result.aborted == ""
    assert result.told[0][1].errors == {}
    assert result.told[0][1].ok == 100


def test_an_answer_in_pieces_is_one() -> None:
    whole = answer()

    def pieces(target: Target, connection: socket.socket, number: int) -> bool:
        for at in range(0, len(whole), 7):
            connection.sendall(whole[at : at + 7])
        return True

    with Target(pieces) as target:
        result = sent(target.port, seconds=0.5)
    assert result.told[0][1].ok == 100


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    def to_the_end(target: Target, connection: socket.socket, number: int) -> bool:
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"memories":[]}')
        return False

    with Target(to_the_end) as target:
        result = sent(target.port, seconds=0.5)
    assert result.told[0][1].ok == 100
