"""What clients may do to the lab's front: anything; it answers those who ask rightly."""

import concurrent.futures
import contextlib
import socket
import struct
import time

import pytest
from fake_front import Lab, request, running
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.lab.server import Bounds

RECALL = "/api/v1/memories/recall"
REMEMBER = "/api/v1/memories/remember"
HEALTH = request("GET", "/health")


def recall(text: str) -> bytes:
    return request("GET", f"{RECALL}?query={text}")


def test_a_connection_serves_one_request_after_the_other(lab: Lab) -> None:
    client = lab.client()
    assert [client.send(HEALTH).answer().status for _ in range(5)] == [200] * 5


def test_requests_sent_at_once_are_answered_in_their_order(lab: Lab) -> None:
    client = lab.client()
    client.send(recall("wait") + HEALTH + recall("x&max_results=1") + request("GET", "/nothing"))
    answers = [client.answer() for _ in range(4)]
    assert [told.status for told in answers] == [200, 200, 200, 404]
    assert len(answers[0].json["memories"]["vivid"]) == 3
    assert len(answers[2].json["memories"]["vivid"]) == 1


def test_hundreds_of_requests_at_once_are_all_answered(lab: Lab) -> None:
    client = lab.client()
    client.send(recall("x") * 200)
    assert {client.answer().status for _ in range(200)} == {200}


def test_too_many_that_wait_on_one_connection_are_429(lab: Lab) -> None:
    client = lab.client()
    client.send(recall("wait") + HEALTH * 300)
    statuses = [client.answer().status for _ in range(301)]
    assert statuses[:256] == [200] * 256
    assert statuses[256:] == [429] * 45


def test_a_request_in_single_bytes_is_a_request(lab: Lab) -> None:
    client = lab.client()
    for byte in request("POST", REMEMBER, body={"content": "slowly"}):
        client.send(bytes([byte]))
    assert client.answer().status == 201


def test_a_body_in_chunks_is_a_body(lab: Lab) -> None:
    head = f"POST {REMEMBER} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b'b\r\n{"content":\r\n' + b'4\r\n"x"}\r\n' + b"0\r\n\r\n"
    assert lab.client().send(head, chunks).answer().status == 201


def test_who_waits_for_a_word_before_the_body_gets_it(lab: Lab) -> None:
    client = lab.client()
    body = b'{"content": "x"}'
    head = f"POST {REMEMBER} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    assert client.send(head.encode()).answer().status == 100
    assert client.send(body).answer().status == 201


def test_averages_of_the_engine_begin_anew_every_second(lab: Lab) -> None:
    ticks, until = lab.engine.ticks, time.monotonic() + 5
    while lab.engine.ticks == ticks and time.monotonic() < until:
        time.sleep(0.05)
    assert 0 < ticks < lab.engine.ticks


def test_a_connection_ends_when_it_is_asked_to(lab: Lab) -> None:
    client = lab.client()
    told = client.send(request("GET", f"{RECALL}?query=wait", headers={"Connection": "close"})).answer()
    assert (told.status, told.headers["connection"]) == (200, "close")
    assert client.is_at_end()


def test_http_1_0_ends_unless_it_says_otherwise(lab: Lab) -> None:
    client = lab.client()
    assert client.send(b"GET /health HTTP/1.0\r\n\r\n").answer().status == 200
    assert client.is_at_end()
    stays = lab.client()
    for _ in range(2):
        told = stays.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer()
        assert told.headers["connection"] == "keep-alive"


def test_who_only_stops_sending_still_gets_the_answer(lab: Lab) -> None:
    client = lab.client().send(recall("wait"))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.answer().status == 200
    assert client.is_at_end()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\x16\x03\x01\x02\x00garbage",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"POST /health HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /health HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_400_and_shown_out(lab: Lab, garbage: bytes) -> None:
    client = lab.client().send(garbage)
    assert client.answer().status == 400
    assert client.is_at_end()
    assert lab.ask("GET", "/health").status == 200


def test_what_was_asked_before_the_garbage_is_answered_first(lab: Lab) -> None:
    client = lab.client().send(recall("wait") + b"\x00\x01\x02\r\n\r\n")
    assert [client.answer().status, client.answer().status] == [200, 400]
    assert client.is_at_end()


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_no_bytes_break_the_front(parts: list[bytes]) -> None:
    client = LAB.client()
    try:
        client.send(*parts)
        client.socket.shutdown(socket.SHUT_WR)
        while client.socket.recv(65536):
            pass
    except (BrokenPipeError, ConnectionResetError):
        pass
    client.close()
    assert LAB.ask("GET", "/health").status == 200


def test_a_wish_for_another_protocol_is_answered_and_ended(lab: Lab) -> None:
    client = lab.client()
    told = client.send(request("GET", "/health", headers={"Connection": "Upgrade", "Upgrade": "websocket"})).answer()
    assert told.status == 200
    assert client.is_at_end()


def test_an_address_without_end_is_414(lab: Lab) -> None:
    client = lab.client().send(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")
    assert client.answer().status == 414
    assert client.is_at_end()


def test_headers_without_end_are_431_and_whoever_goes_on_is_cut_off() -> None:
    with running(bounds=Bounds(lingering_seconds=0.3, arriving_seconds=1)) as lab:
        client = lab.client().send(b"GET /health HTTP/1.1\r\nX-Long: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.flood(b"x" * 4096, times=2000, every_seconds=0.002)
        polite = lab.client().send(b"GET /health HTTP/1.1\r\nX-Long: ")
        time.sleep(0.1)
        polite.flood(b"x" * 4096, times=40)
        assert polite.answer().status == 431


@pytest.mark.parametrize("head", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"])
def test_a_body_without_end_is_413_and_the_client_gets_to_read_it(lab: Lab, head: bytes) -> None:
    client = lab.client().send(b"POST /api/v1/memories/remember HTTP/1.1\r\n" + head + b"\r\n\r\n")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.flood(b"6\r\nxxxxxx\r\n" * 800 if b"chunked" in head else b"x" * 8800, times=100)
    assert client.answer().status == 413


def test_a_long_answer_is_nothing_to_a_client_that_goes_away(lab: Lab) -> None:
    for _ in range(50):
        client = lab.client().send(recall("wait"))
        # A reset, not a farewell.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    time.sleep(1.3)
    assert not lab.front.waiting
    assert lab.ask("GET", "/health").status == 200


def test_who_sends_too_slowly_is_told_408() -> None:
    with running(bounds=Bounds(arriving_seconds=0.3)) as lab:
        client = lab.client().send(b"GET /health HTTP/1.1\r\n")
        began = time.monotonic()
        assert client.answer().status == 408
        assert time.monotonic() - began < 5
        assert client.is_at_end()


def test_a_trickle_is_too_slow_too() -> None:
    with running(bounds=Bounds(arriving_seconds=0.5)) as lab:
        client = lab.client().send(b"POST /health HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.flood(b"x", times=300, every_seconds=0.02)


def test_who_says_nothing_is_shown_out() -> None:
    with running(bounds=Bounds(arriving_seconds=0.4, idle_seconds=0.3)) as lab:
        client = lab.client()
        assert client.send(HEALTH).answer().status == 200
        assert client.is_at_end()


def test_who_never_reads_is_cut_off_and_costs_little() -> None:
    with running(bounds=Bounds(arriving_seconds=0.4, unread_seconds=0.5, unread_bytes=1 << 14)) as lab:
        client = lab.client()
        client.socket.settimeout(1)
        with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
            client.flood(HEALTH * 50, times=20_000)
        deadline = time.monotonic() + 10
        while lab.front.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not lab.front.connections


def test_more_connections_than_there_may_be_are_refused_with_a_reason() -> None:
    with running(bounds=Bounds(connections=3)) as lab:
        held = [lab.client() for _ in range(3)]
        for client in held:
            assert client.send(HEALTH).answer().status == 200
        assert lab.client().answer().status == 503
        assert held[0].send(HEALTH).answer().status == 200


def test_two_thousand_connections_are_all_served(lab: Lab) -> None:
    clients = [lab.client() for _ in range(2000)]
    for client in clients:
        client.send(recall("x"))
    assert {client.answer().status for client in clients} == {200}
    for client in clients:
        client.close()


def test_a_fault_of_ours_is_one_requests_alone(lab: Lab) -> None:
    def broken(space: str | None) -> tuple[int, int, int]:
        raise ZeroDivisionError

    told = []
    lab.loop.set_exception_handler(lambda loop, context: told.append(context["message"]))
    lab.engine.tier_counts = broken  # type: ignore[method-assign]
    assert lab.ask("GET", "/api/v1/memories?limit=0").status == 500
    assert told == ["a request could not be answered"]
    assert lab.ask("GET", "/health").status == 200


def test_who_waits_while_the_lab_stops_is_answered() -> None:
    with running() as lab:
        waits, idles = lab.client().send(recall("wait")), lab.client().send(HEALTH)
        assert idles.answer().status == 200
        while not lab.front.waiting:
            time.sleep(0.01)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answered = pool.submit(waits.answer)
            assert lab.stop()
            told = answered.result(5)
        assert (told.status, told.headers["connection"]) == (200, "close")
        assert idles.is_at_end()


def test_who_would_wait_for_ever_is_cut_off_when_the_lab_stops() -> None:
    with running(bounds=Bounds(stopping_seconds=0.3)) as lab:
        waits = lab.client().send(recall("never"))
        while not lab.front.waiting:
            time.sleep(0.01)
        assert not lab.stop()
        with pytest.raises((EOFError, ConnectionResetError)):
            waits.answer()


@pytest.fixture(autouse=True, scope="module")
def _one_lab_for_all_examples() -> object:
    global LAB
    with running() as there:
        LAB = there
        yield


LAB: Lab
