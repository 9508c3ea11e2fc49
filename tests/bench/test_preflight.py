"""Before a load: a server that cannot be loaded is told apart, with what to do."""

import socket
import time

import pytest
from tests.bench.conftest import StartServer

from engram_diagnose.bench.asking import Asking, NoAnswerError
from engram_diagnose.bench.guards import Address, checked_address
from engram_diagnose.bench.preflight import PreflightError, Server, look_at
from engram_diagnose.collectors.instances import interfaces
from engram_diagnose.engine.facts.catalogue import Catalogue


@pytest.fixture
def look(catalogue: Catalogue):  # type: ignore[no-untyped-def]
    def ask(url: str, *, token: str = "", dialect: str = "", wait: float = 1.0) -> Server:
        with Asking(checked_address(url), token=token, wait=wait) as asking:
            return look_at(asking, interfaces(catalogue.dialects), dialect=dialect, space="bench-t-look")

    return ask


def test_a_healthy_server_tells_its_dialect_version_and_size_and_keeps_nothing(start_server: StartServer, look) -> None:
    server = start_server()
    found = look(server.url)
    assert (found.dialect, found.version, found.memories, found.removes_spaces) == ("guide", "9.9", 0, True)
    assert found.notes == ()
    assert server.left["spaces"] == []


def test_the_releases_answers_are_understood(start_server: StartServer, look) -> None:
    assert look(start_server("release").url).dialect == "engram-0.1"


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("locked", "--server-token-file"),
        ("busy", "fewer requests before the load has begun"),
        ("sick", "not well"),
        ("garbage", "no answer to it: another service"),
        ("elsewhere", "knows none of /health"),
        ("moved", "redirect, which is not followed"),
    ],
)
def test_a_server_that_cannot_be_loaded_is_told_with_what_to_do(
    mode: str, told: str, start_server: StartServer, look
) -> None:
    with pytest.raises(PreflightError, match=told):
        look(start_server(mode).url)


def test_what_a_server_that_dies_in_between_may_have_kept_is_named(start_server: StartServer, look) -> None:
    with pytest.raises(NoAnswerError, match="one memory may be left in the memory space bench-t-look"):
        look(start_server("dies-after", number=4).url)


@pytest.mark.parametrize(
    ("mode", "told"),
    [("hangs", "within 1 s; it hangs"), ("closes", r"no HTTP|closed the connection"), ("no-http", "no HTTP")],
)
def test_a_server_that_gives_no_answer_is_told_with_the_reason(
    mode: str, told: str, start_server: StartServer, look
) -> None:
    with pytest.raises(NoAnswerError, match=told):
        look(start_server(mode).url)


def test_a_port_at_which_nothing_listens_is_told(look) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NoAnswerError, match="nothing listens there"):
        look(f"http://127.0.0.1:{port}")


def test_a_name_that_nobody_knows_is_told(look) -> None:
    with pytest.raises(NoAnswerError, match=r"no such host|no connection"):
        look("http://nowhere.invalid:7432")


def test_a_token_opens_a_locked_server(start_server: StartServer, look) -> None:
    assert look(start_server("locked").url, token="secret").dialect == "guide"


def test_what_a_server_cannot_remove_or_find_is_noted(start_server: StartServer, look) -> None:
    assert any("no way to remove" in note for note in look(start_server("keeps-spaces").url).notes)
    assert any("does not find" in note for note in look(start_server("forgetful").url).notes)


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_the_client() -> None:
    """The timeouts of a socket begin anew with each byte."""
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(40):
                time.sleep(0.1)
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    began = time.monotonic()
    with Asking(Address("127.0.0.1", listening.getsockname()[1]), wait=0.5) as asking, pytest.raises(NoAnswerError):
        asking.get("/health")
    assert time.monotonic() - began < 3
    listening.close()
