"""What goes out when, and what is told of it."""

import errno
import re
import socket
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.sending.sent import RECALL, REQUEST, sent, task
from tests.bench.sending.targets import Target, answer, says

from engram_diagnose.bench.sending import connections
from engram_diagnose.bench.sending.sender import _among, _own
from engram_diagnose.bench.sending.task import Kind, Progress

STORE = Kind(
    "store", tuple(b"POST /remember?%d&n=#### HTTP/1.1\r\nHost: there\r\n\r\n" % text for text in range(3)),
    frozenset({200, 201}), (b'id"',), numbered=True, mark=b"####",
)  # fmt: skip
BOTH = answer(200, b'{"memories":[],"memory_id":"7"}')


def test_requests_start_when_they_are_due_whatever_the_server_does() -> None:
    with Target(says(answer())) as target:
        result = sent(target.port, interval=1 / 100)
        spans = [arrival - target.arrivals[0] for arrival in target.arrivals]
    assert result.told[0][1].sent == len(spans) == 100
    late = [span - place / 100 for place, span in enumerate(spans)]
    assert sorted(late)[50] == pytest.approx(0.0, abs=0.05)


def test_each_memory_that_is_stored_has_a_number_of_its_own() -> None:
    with Target(says(BOTH)) as target:
        sent(target.port, kinds=(STORE,), first_number=17)
        numbers = [re.search(rb"n=(\d{4}) ", request) for request in target.requests]
    found = sorted(int(one[1]) for one in numbers if one)
    assert found == list(range(17, 217))


def test_operations_come_in_exactly_the_shares_of_the_order() -> None:
    with Target(says(BOTH)) as target:
        result = sent(target.port, kinds=(RECALL, STORE), order=bytes([0, 0, 1, 0, 1]))
        methods = Counter(request.split()[0] for request in target.requests)
    assert methods == {b"GET": 120, b"POST": 80}
    assert {name: told.ok for name, told in result.told} == {"recall": 120, "store": 80}


def test_the_requests_asked_for_are_those_that_were_picked() -> None:
    ready = tuple(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(4))
    kind = Kind("recall", ready, frozenset({200}), (b'"memories"',))
    with Target(says(answer())) as target:
        sent(target.port, kinds=(kind,), picks=(3, 1, 1, 0))
        asked = Counter(request.split()[1] for request in target.requests)
    assert asked == {b"/3": 50, b"/1": 100, b"/0": 50}


def test_a_request_is_counted_in_the_second_it_was_meant_for() -> None:
    with Target(says(answer())) as target:
        result = sent(target.port, seconds=2.5)
    assert {place: (one.sent, one.ok, one.errors) for place, one in result.seconds.items()} == {
        0: (200, 200, 0), 1: (200, 200, 0), 2: (100, 100, 0),
    }  # fmt: skip
    assert sum(one.times.total for one in result.seconds.values()) == result.told[0][1].response.total == 500


def test_what_waits_for_a_connection_is_no_lag_of_the_client() -> None:
    """One connection, answers that take 20 ms, and a request every 5 ms: the queue is the server's."""

    def slow(target: Target, connection: object, number: int) -> bool:
        time.sleep(0.02)
        connection.sendall(answer())  # type: ignore[attr-defined]
        return True

    with Target(slow) as target:
        result = sent(target.port, connections=1, drain=10.0)
    told = result.told[0][1]
    assert told.ok == 200
    response = told.response.quantile(0.5) or 0.0
    assert response > 1.0
    assert (told.lag.quantile(0.99) or 0.0) < response / 10
    assert 0.02 <= (told.service.quantile(0.5) or 0.0) < response / 10


def test_what_no_connection_became_free_for_was_not_served() -> None:
    def slow(target: Target, connection: object, number: int) -> bool:
        time.sleep(0.1)
        connection.sendall(answer())  # type: ignore[attr-defined]
        return True

    with Target(slow) as target:
        result = sent(target.port, connections=2, drain=0.0)
    told = result.told[0][1]
    assert told.sent == told.ok + sum(told.errors.values()) == 200
    assert told.errors["not-served"] > 150
    assert sum(one.errors for one in result.seconds.values()) == sum(told.errors.values())
    assert result.due == 200


def test_progress_comes_four_times_a_second() -> None:
    seen: list[Progress] = []
    with Target(says(answer())) as target:
        sent(target.port, seconds=2.1, say=seen.append)
    assert 4 <= len(seen) <= 9
    assert [one.sent for one in seen] == sorted(one.sent for one in seen)
    assert seen[-1].ok > 300


def test_a_large_request_goes_out_whole() -> None:
    body = b"x" * (8 << 20)
    large = Kind("store", (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body,), frozenset({200}),
                 (b'id"',))  # fmt: skip
    got = []

    def whole(target: Target, connection: object, number: int) -> bool:
        size = len(target.requests[number - 1])
        while size < len(large.ready[0]):
            size += len(connection.recv(1 << 20))  # type: ignore[attr-defined]
        got.append(size)
        connection.sendall(BOTH)  # type: ignore[attr-defined]
        return True

    with Target(whole) as target:
        result = sent(target.port, kinds=(large,), interval=0.5, connections=1)
    assert got == [len(large.ready[0])] * 2
    assert result.told[0][1].ok == 2


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50), st.integers(1, 8), st.integers(0, 300))
def test_workers_send_each_request_once_and_as_it_was_dealt(dealt: list[int], workers: int, all_: int) -> None:
    parts = [task(1, worker=number, workers=workers) for number in range(workers)]
    assert sum(_among(all_, part) for part in parts) == all_
    for part in parts:
        own = _own(dealt, part)
        for turn in range(_among(all_, part)):
            assert own[turn % len(own)] == dealt[(part.worker + turn * workers) % len(dealt)]


def test_the_request_goes_out_byte_for_byte() -> None:
    with Target(says(answer())) as target:
        sent(target.port, seconds=0.1)
        assert set(target.requests) == {REQUEST}


def test_a_clock_that_is_set_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(steps)))
    monkeypatch.setattr(time, "time_ns", lambda: next(steps))
    with Target(says(answer())) as target:
        result = sent(target.port)
    assert (result.aborted, result.told[0][1].ok) == ("", 200)


def test_too_few_open_files_are_said_before_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(range(5))

    def scarce(*given: Any) -> socket.socket:
        if next(left, None) is None:
            raise OSError(errno.EMFILE, "Too many open files")
        return socket.socket(*given)

    with Target(says(answer())) as target:
        monkeypatch.setattr(connections, "socket", SimpleNamespace(**vars(socket) | {"socket": scarce}))
        result = sent(target.port, connections=500, wait=0.2)
    assert re.match(r"only 5 of 500 connections could be opened", result.aborted)
    assert "ulimit -n" in result.aborted


def test_a_load_goes_on_with_the_connections_that_were_accepted_and_tells_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter(range(3))

    class Limited(socket.socket):
        def connect_ex(self, address: Any) -> int:
            return errno.ECONNREFUSED if next(left, None) is None else super().connect_ex(address)

    with Target(says(answer())) as target:
        assert sent(target.port, connections=8).connected == 8
        monkeypatch.setattr(connections, "socket", SimpleNamespace(**vars(socket) | {"socket": Limited}))
        result = sent(target.port, connections=8)
    assert (result.aborted, result.connected) == ("", 3)
