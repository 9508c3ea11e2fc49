"""Sizing on a host where no server runs yet: from what the host says of itself, and from nothing else's figures."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from engram_diagnose import discovery
from engram_diagnose.collectors.bundle import encode_bundle, read_bundle, redact
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture import site
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.target import NoTarget
from engram_diagnose.collectors.gather import NothingToCollectError, Request
from engram_diagnose.collectors.prometheus.options import PrometheusOptions
from engram_diagnose.diagnosing import collect_bundle, sizing_bundle
from engram_diagnose.engine.advice.advise import Advice
from engram_diagnose.engine.diagnosis import Diagnosis, Expert
from engram_diagnose.session import diagnose_bundle
from engram_diagnose.tuning import Wish, configuration_of, tune

HOST = ("host.cores", "mem.total", "numa.nodes", "simd.isa")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Prometheus on its port, and no server's process."""
    found_by(monkeypatch, "SOURCE_ABSENT")
    monkeypatch.setattr(discovery, "_listens", lambda _: False)


def found_by(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    for module in (discovery, site):
        monkeypatch.setattr(module, "local_target", lambda *_, **__: NoTarget(reason, "no process of it here"))


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def collected(request: Request) -> tuple[Bundle, list[str]]:
    notes: list[str] = []
    return sizing_bundle(request, (), say=notes.append, progress=lambda _: None), notes


def known(ready: Expert, bundle: Bundle) -> set[str]:
    diagnosis = diagnose_bundle(bundle, ready)
    return {name for name in HOST if diagnosis.memory.value(name) is not None}


def sized(ready: Expert, bundle: Bundle) -> tuple[Diagnosis, Advice]:
    found = tune(bundle, ready, configuration_of(bundle, ""), Wish(sizing=True), now=bundle.time)
    return found.diagnosis, found.advice


def test_the_host_alone_is_enough(ready: Expert) -> None:
    bundle, notes = collected(Request())
    assert known(ready, bundle) >= {"host.cores", "mem.total"}
    assert notes == [
        "no server was found here; this host is taken for the one it will run on",
        "where a container or a service limits it, state --cores and --memory",
    ]
    _, advice = sized(ready, bundle)
    assert {"config.storage.hot_tier_size", "config.storage.hot_tier_shards"} <= {
        one.name for one in advice.of("advised")
    }


def test_without_sizing_there_is_nothing_to_diagnose() -> None:
    with pytest.raises(NothingToCollectError):
        collect_bundle(Request(), (), say=lambda _: None, progress=lambda _: None)


def test_what_only_a_server_could_tell_is_unknown_for_that_reason(ready: Expert) -> None:
    diagnosis = diagnose_bundle(collected(Request())[0], ready)
    quota = diagnosis.memory.lookup("cpu.available_cores")
    assert quota is not None
    assert str(quota.unknown) == "the source does not offer it (no process of it here)"
    assert diagnosis.causes == ()
    assert diagnosis.missed() == ()


def test_a_saved_bundle_gives_the_same_advice(ready: Expert) -> None:
    bundle, _ = collected(Request())
    again = read_bundle(encode_bundle(bundle))
    assert sized(ready, again)[1] == sized(ready, bundle)[1]


def test_a_redacted_one_does_too(ready: Expert) -> None:
    bundle, _ = collected(Request())
    assert sized(ready, redact(bundle))[1].decisions == sized(ready, bundle)[1].decisions


def test_a_configuration_that_is_named_is_read_too(ready: Expert, tmp_path: Path) -> None:
    file = tmp_path / "engram.toml"
    file.write_text("[storage]\nhot_tier_size_mb = 512\n")
    bundle, _ = collected(Request(config_file=str(file)))
    diagnosis, _ = sized(ready, bundle)
    assert diagnosis.memory.value("config.storage.hot_tier_size") == (512 * 2.0**20, 512 * 2.0**20)
    assert known(ready, bundle) >= {"host.cores", "mem.total"}


def test_the_device_under_a_data_directory_is_looked_at(ready: Expert, tmp_path: Path) -> None:
    bundle, _ = collected(Request(data_dir=str(tmp_path)))
    assert diagnose_bundle(bundle, ready).memory.value("fs.type") is not None


def test_without_this_host_only_what_is_stated_counts(ready: Expert) -> None:
    bundle, notes = collected(Request(local=False))
    assert not any(answer.answered for answer in bundle.answers)
    assert known(ready, bundle) == set()
    assert notes == []


@pytest.mark.parametrize("elsewhere", [
    Request(server_url="http://192.0.2.1:7432"),
    Request(metrics_url="http://192.0.2.1:7432/metrics"),
    Request(prometheus=PrometheusOptions("http://127.0.0.1:1")),
    Request(pid=2**22 + 1),
])  # fmt: skip
def test_this_hosts_figures_are_not_those_of_a_server_that_was_named(
    ready: Expert, monkeypatch: pytest.MonkeyPatch, elsewhere: Request
) -> None:
    monkeypatch.setattr(site, "http_answer", lambda machine, url, path, **_: silent(path))
    bundle, _ = collected(replace(elsewhere, seconds=0.01))
    assert known(ready, bundle) == set()


def silent(path: str) -> Answer:
    return Answer("http", path, 1.0, "db1", None, "SOURCE_UNREACHABLE", "no route to host")


def test_nor_those_of_an_instance_of_another_name(ready: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by(monkeypatch, "OTHER_HOST")
    bundle, notes = collected(Request(instance="db1:7432"))
    assert known(ready, bundle) == set()
    assert notes == ["this host: no process of it here"]


def test_a_prometheus_that_was_found_and_knows_no_server_does_not_stand_in_the_way(
    ready: Expert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_listens", lambda _: True)
    port = closed_port()
    monkeypatch.setattr(discovery, "PROMETHEUS_PORT", port)
    bundle, notes = collected(Request())
    assert known(ready, bundle) >= {"host.cores", "mem.total"}
    assert notes[:2] == [f"found a Prometheus on port {port}", "it knows of no Engram server"]


def test_the_past_of_a_host_is_not_known() -> None:
    with pytest.raises(NothingToCollectError, match="only Prometheus knows the past"):
        collected(Request(at=1_700_000_000.0))
