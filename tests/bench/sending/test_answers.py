"""Answers from a stream: the glance at usual ones says what httptools says."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.bench.sending.answers import Answer, AnswerReader, NoHttpError, usual_heading

LINES = st.sampled_from(
    [
        b"Content-Length: 5", b"content-length:5", b"Content-Length: 0", b"Content-Length: 12345678901",
        b"Content-Length: -1", b"Content-Length: x", b"Transfer-Encoding: chunked", b"Connection: close",
        b"Connection: keep-alive", b"Connection: Upgrade", b"Server: content-length: 7", b"Date: now",
        b"Retry-After: 3",
    ]
)  # fmt: skip
STATUS = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 201 Created", b"HTTP/1.1 404 No", b"HTTP/1.0 200 OK",
                          b"HTTP/1.1 204 No", b"HTTP/1.1 304 Same", b"HTTP/1.1 2000 OK", b"HTTP/1.1 200"])  # fmt: skip


def read(data: bytes, cuts: list[int]) -> Answer | str | None:
    """What a reader makes of data that arrives in pieces."""
    reader, found = AnswerReader(), None
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    try:
        for first, last in itertools.pairwise(places):
            found = reader.feed(data[first:last]) or found
    except NoHttpError:
        return "no HTTP"
    return found


@given(STATUS, st.lists(LINES, max_size=4), st.lists(st.integers(0, 200), max_size=6))
def test_a_usual_heading_means_what_the_parser_takes_it_for(status: bytes, lines: list[bytes], cuts: list[int]) -> None:
    heading = b"\r\n".join([status, *lines, b"", b""])
    usual = usual_heading(heading)
    if usual is None:
        return
    body = b"x" * usual[1]
    assert read(heading + body, cuts) == Answer(usual[0], body, True, "3" if b"Retry-After: 3" in lines else "")


def test_an_answer_that_switches_protocols_is_no_answer() -> None:
    reader = AnswerReader()
    with pytest.raises(NoHttpError, match="another protocol"):
        reader.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_whatever_arrives_is_an_answer_or_none_or_no_http(data: bytes, cuts: list[int]) -> None:
    read(data, cuts)
    usual_heading(data)


@given(st.binary(max_size=100))
def test_whatever_follows_the_beginning_of_an_answer_is_taken_in_the_same_way(rest: bytes) -> None:
    read(b"HTTP/1.1 200 OK\r\n" + rest, [])
    usual_heading(b"HTTP/1.1 200 OK\r\n" + rest + b"\r\n\r\n")


def test_a_body_is_kept_only_as_far_as_it_tells_something() -> None:
    reader = AnswerReader()
    size = 8 << 20
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    found = None
    for _ in range(size >> 16):
        found = reader.feed(b"x" * 65536)
    assert found is not None
    assert len(found.body) <= 2 * 65536


@pytest.mark.parametrize("more", [b"X: " + b"y" * 70_000, b"A: b\r\n" * 20_000])
def test_a_heading_without_end_is_refused(more: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + more
    assert read(data, list(range(0, len(data), 4096))) == "no HTTP"
