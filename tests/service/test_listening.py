"""An address means one thing: a name that could mislead is not listened at."""

import socket
from typing import Any

import pytest

from engram_diagnose.service.listening import ListenError, bound_socket
from engram_diagnose.service.settings import Settings


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name stand for these addresses."""

    def found(host: str, port: int, **_: object) -> list[Any]:
        kinds = [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in addresses]
        return [(kind, socket.SOCK_STREAM, 6, "", (one, port)) for kind, one in kinds]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def address_of(listen: str) -> str:
    with bound_socket(Settings(listen=listen)) as found:
        return str(found.getsockname()[0])


def test_this_host_by_address_and_by_name() -> None:
    assert address_of("127.0.0.1:0") == "127.0.0.1"
    assert address_of("localhost:0") == "127.0.0.1"


def test_a_localhost_that_others_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked who they are at localhost, so it must be what it is called."""
    named(monkeypatch, "192.0.2.7")
    with pytest.raises(ListenError, match=r"localhost stands for 192\.0\.2\.7 here, which other hosts reach; set 127"):
        bound_socket(Settings(listen="localhost:0"))


def test_a_name_of_several_addresses_is_refused_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "192.0.2.7", "127.0.1.1", "::1")
    with pytest.raises(ListenError, match=r"db\.example stands for 127\.0\.1\.1, 192\.0\.2\.7; set one address"):
        bound_socket(Settings(listen="db.example:0"))


def test_a_name_that_is_told_twice_and_in_both_families_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "::1", "127.0.0.1", "127.0.0.1")
    assert address_of("localhost:0") == "127.0.0.1"


def test_a_name_that_stands_for_nothing_is_said() -> None:
    with pytest.raises(
        ListenError, match=r"cannot listen at nowhere\.invalid:0: .*; set another address with --listen"
    ):
        bound_socket(Settings(listen="nowhere.invalid:0"))
