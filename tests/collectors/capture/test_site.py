"""A host and its server, without Prometheus: what is asked at once, how long, and who is not waited for."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from web_server import Reply, answering

from engram_diagnose.bounds import bounds_of
from engram_diagnose.collectors.capture import site as module
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.interface import Interface, interfaces_of
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.site import UNTOLD, Bounds, Order, Site
from engram_diagnose.collectors.instances import interfaces
from engram_diagnose.rulebase import load_rules

LOADED = load_rules()
BOUNDS = bounds_of(LOADED)
GUIDE = Interface("/metrics", "prometheus", paths=("/health",))


@pytest.fixture
def url() -> Iterator[str]:
    with answering(lambda path, _: Reply('{"snapshot": {}}' if path == "/metrics" else "{}")) as address:
        yield address


def site(limits: Mapping[str, float] = BOUNDS.limits, **order: Any) -> Site:
    return Site(Order(**{"seconds": 0.1, **order}), Machine("here"), bounds=Bounds(limits, {}))


def test_what_dialects_say_survives_a_way_through_json() -> None:
    from dataclasses import asdict

    known = interfaces(LOADED.catalogue.dialects)
    plain = json.loads(json.dumps({name: asdict(one) for name, one in known.items()}))
    assert interfaces_of(plain) == known


def test_a_server_is_asked_for_its_health_and_where_it_has_them_its_json_metrics() -> None:
    known = interfaces(LOADED.catalogue.dialects)
    assert "/health" in known["guide"].asked
    assert "/metrics" not in known["guide"].asked
    assert {"/health", "/metrics"} <= set(known["engram-0.1"].asked)


def test_the_form_of_its_metrics_tells_a_dialect(url: str) -> None:
    known = interfaces(LOADED.catalogue.dialects)
    assert site(server_url=url, local=False).dialect(known) == ("engram-0.1", "told by the form of its /metrics")
    assert site(local=False).dialect(known) == ("guide", UNTOLD)


def test_watching_for_longer_than_the_budget_is_no_reason_to_stop() -> None:
    limits = {**BOUNDS.limits, "budget": 0.1}
    answers = site(limits, pid=os.getpid(), seconds=0.5).answers(GUIDE)
    guard = next(one for one in answers if one.name == "guard")
    assert json.loads(guard.body or "")["stopped"] == ""
    times = [one.time for one in answers if one.name == "/proc/PID/stat"]
    assert times[1] - times[0] > limits["budget"]


def test_whoever_is_interrupted_does_not_wait_for_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    silent, over = threading.Event(), threading.Event()

    def asked(*_: object, **__: object) -> Answer:
        silent.wait(60)
        over.set()
        return Answer("http", "/health", 0.0, "", None, "SOURCE_UNREACHABLE", "")

    def interrupted(*_: object, **__: object) -> list[Answer]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "http_answer", asked)
    monkeypatch.setattr(module, "capture_target", interrupted)
    with pytest.raises(KeyboardInterrupt):
        site(pid=os.getpid(), server_url=url).answers(GUIDE)
    assert not over.is_set()
    silent.set()


def test_what_asking_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Answer:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(module, "http_answer", broken)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        site(local=False, server_url="http://127.0.0.1:9").answers(GUIDE)
