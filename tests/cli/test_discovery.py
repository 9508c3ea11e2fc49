"""What is asked when nothing is named, and what an operator is told of sources that gave nothing."""

import pytest

from engram_diagnose import discovery
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget
from engram_diagnose.collectors.gather import NothingToCollectError, Request
from engram_diagnose.diagnosing import unanswered
from engram_diagnose.discovery import discover

SERVER = LocalTarget(4242, 1, 7432, "engram", "listens on port 7432")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> "Host":
    return Host(monkeypatch)


class Host:
    """What is on this host."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.has(prometheus=False, server=False)

    def has(self, *, prometheus: bool, server: bool) -> None:
        self._patch.setattr(discovery, "_listens", lambda _: prometheus)
        self._patch.setattr(
            discovery, "local_target", lambda _: SERVER if server else NoTarget("SOURCE_ABSENT", "none")
        )


def test_a_host_with_nothing_is_told_what_to_name(host: Host) -> None:
    with pytest.raises(NothingToCollectError, match="engram-diagnose demo"):
        discover(Request())


def test_what_is_found_is_asked_and_said(host: Host) -> None:
    host.has(prometheus=True, server=True)
    found = discover(Request())
    assert found.request.prometheus is not None
    assert found.request.prometheus.url == "http://127.0.0.1:9090"
    assert found.notes == ("found a Prometheus on port 9090", "found engram (process 4242, listens on port 7432)")


def test_nothing_is_looked_for_beside_what_was_named(host: Host) -> None:
    host.has(prometheus=True, server=True)
    asked = Request(server_url="http://db1:7432")
    assert discover(asked).request == asked
    assert discover(asked).notes == ()


@pytest.mark.parametrize("request_", [Request(pid=1), Request(config_file="/etc/engram/engram.toml")])
def test_a_process_or_a_configuration_is_enough_and_a_prometheus_beside_it_is_found(
    host: Host, request_: Request
) -> None:
    assert discover(request_).request.prometheus is None
    host.has(prometheus=True, server=False)
    assert discover(request_).request.prometheus is not None


def test_this_host_is_not_looked_at_when_it_is_left_out(host: Host) -> None:
    host.has(prometheus=False, server=True)
    with pytest.raises(NothingToCollectError):
        discover(Request(local=False))


def silent(collector: str, name: str, reason: str, detail: str) -> Answer:
    return Answer(collector, name, 1.0, "db1", None, reason, detail)


def test_each_source_that_gave_nothing_is_named_once_with_its_reason() -> None:
    bundle = Bundle(1.0, answers=(
        silent("prometheus", "window 0", "SOURCE_UNREACHABLE", "cannot be connected to; check the address"),
        silent("prometheus", "before 0", "SOURCE_ABSENT", "no samples"),
        silent("target", "target", "OTHER_HOST", "db1:7432 is not a name of this machine"),
        silent("http", "/health", "SOURCE_UNREACHABLE", "HTTP 401: give a bearer token"),
        silent("config", "/etc/engram/engram.toml", "PTRACE_DENIED", "Permission denied"),
        silent("process", "/proc/PID/stat", "TARGET_GONE", "process 7 ended while it was measured"),
        silent("process", "/proc/PID/io", "TARGET_GONE", "process 7 ended while it was measured"),
        silent("host", "/sys/class/dmi/id", "SOURCE_ABSENT", "no such files"),
    ))  # fmt: skip
    assert unanswered(bundle) == [
        "Prometheus: cannot be connected to; check the address",
        "this host: db1:7432 is not a name of this machine",
        "the server (/health): HTTP 401: give a bearer token",
        "the configuration (/etc/engram/engram.toml): Permission denied",
        "this host: process 7 ended while it was measured",
    ]


def test_nobody_is_told_of_what_they_wished_away_themselves() -> None:
    assert (
        unanswered(Bundle(1.0, answers=(silent("target", "target", "NOT_COLLECTED", "left out (--no-local)"),))) == []
    )
