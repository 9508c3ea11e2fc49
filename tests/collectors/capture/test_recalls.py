"""A few recalls of our own: slow, few, never kept, and none where nobody asked for them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_server import Reply, answering

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.recalls import MOST, PATH, timed_recalls
from engram_diagnose.collectors.capture.site import Bounds
from engram_diagnose.collectors.gather import NothingToCollectError, Request, gather
from engram_diagnose.collectors.parse.recalls import RECALL_FACTS, facts_of_recalls
from engram_diagnose.collectors.reading import facts_of_bundle
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.rulebase import load_rules

RECALLED = '{"memories": {"vivid": [{"content": "hunter2"}]}, "metadata": {"processing_time_ms": 3}}'


@contextmanager
def serving(*bodies: str, status: int = 200, delay: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """A server that answers recalls with these, the last one again and again; its URL, and what it was asked."""
    asked: list[str] = []

    def reply(path: str, _: str) -> Reply:
        asked.append(path)
        if not path.startswith(PATH):
            return Reply("{}")
        time.sleep(delay)
        return Reply(bodies[min(len(asked), len(bodies)) - 1], status)

    with answering(reply) as url:
        yield url, asked


def timed(url: str, count: int) -> Answer:
    return timed_recalls(Machine("id", now=lambda: 7.0), url, count=count, pace_seconds=0.0)


def facts(answer: Answer) -> dict[str, Fact]:
    found = facts_of_recalls([answer])
    assert {fact.name for fact in found} == RECALL_FACTS
    return {fact.name: fact for fact in found}


def test_recalls_are_timed_and_what_was_recalled_is_not_kept() -> None:
    with serving(RECALLED, delay=0.02) as (url, asked):
        answer = timed(url, 10)
    assert len(asked) == 10
    assert all("include_metadata=true" in path for path in asked)
    assert "hunter2" not in (answer.body or "")
    found = facts(answer)
    median = found["op.latency.p50"]
    assert isinstance(median.value, tuple)
    assert median.value[0] >= 0.02
    assert (median.status, median.proxy_of) == (Status.PROXY, "latency of the recalls that clients send")
    assert "timed by the client over 10 requests" in median.quality
    assert "took 3 to 3 ms of that" in median.quality


def test_a_quantile_that_so_few_cannot_tell_is_unknown_with_how_many_would() -> None:
    with serving(RECALLED) as (url, _):
        found = facts(timed(url, 20))
    assert found["op.latency.p95"].known
    lacking = found["op.latency.p99"]
    assert lacking.unknown is not None
    assert (lacking.unknown.reason, lacking.unknown.detail) == (
        Reason.TOO_FEW_SAMPLES, "20 recalls were timed, 100 are needed",
    )  # fmt: skip
    assert lacking.get_by == "--time-recalls 100"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [("", 401, "SOURCE_UNREACHABLE"), ("", 404, "SOURCE_ABSENT"), ("<html>login</html>", 200, "UNPARSED"),
     ("[]", 200, "UNPARSED"), ("[" * 100_000, 200, "UNPARSED"), ('{"memories": ', 200, "UNPARSED")],
)  # fmt: skip
def test_a_server_that_answers_wrongly_is_left_alone_after_the_second_time(body: str, status: int, reason: str) -> None:
    with serving(body, status=status) as (url, asked):
        answer = timed(url, 20)
    assert len(asked) == 2
    assert (answer.body, answer.reason) == (None, reason)
    assert all(not fact.known for fact in facts(answer).values())


def test_one_failure_among_them_is_said_and_does_not_count() -> None:
    with serving(RECALLED, "<html>", RECALLED) as (url, _):
        found = facts(timed(url, 5))
    assert "over 4 requests" in found["op.latency.mean"].quality
    assert "1 more failed (the answer is no JSON object" in found["op.latency.mean"].quality


def test_a_server_without_metadata_is_timed_all_the_same() -> None:
    with serving('{"memories": {}}') as (url, _):
        found = facts(timed(url, 3))
    assert "the server says" not in found["op.latency.mean"].quality


def test_they_are_sent_two_a_second_at_most() -> None:
    with serving(RECALLED) as (url, _):
        start = time.monotonic()
        timed_recalls(Machine("id"), url, count=3)
    assert time.monotonic() - start >= 1.0


def test_there_are_never_more_than_the_most() -> None:
    with serving(RECALLED) as (url, asked):
        timed(url, MOST + 50)
    assert len(asked) == MOST


def test_nothing_is_recalled_unless_it_is_asked_for() -> None:
    with serving(RECALLED) as (url, asked):
        collected(url, time_recalls=0)
        assert not any(path.startswith(PATH) for path in asked)
        bundle = collected(url, time_recalls=2)
        assert sum(path.startswith(PATH) for path in asked) == 2
    (answer,) = bundle.of("recalls")
    known = [fact.name for fact in facts_of_bundle(bundle, CATALOGUE, ("op.latency.p50",)) if fact.known]
    assert answer.answered
    assert "op.latency.p50" in known


def test_recalls_to_be_timed_with_nobody_to_ask_are_unknown_with_what_to_give() -> None:
    (answer,) = collected("", metrics_url="http://127.0.0.1:9/metrics", time_recalls=2).of("recalls")
    assert (answer.reason, "give --server URL" in answer.detail) == ("SOURCE_ABSENT", True)


def test_the_past_cannot_be_timed() -> None:
    from engram_diagnose.collectors.prometheus.options import PrometheusOptions

    with pytest.raises(NothingToCollectError, match="leave out --time-recalls or --at"):
        collected("", at=1000.0, prometheus=PrometheusOptions("http://127.0.0.1:9"), time_recalls=5)


CATALOGUE = load_rules().catalogue


def collected(url: str, **more: Any) -> Any:
    request = Request(server_url=url, local=False, seconds=0.05, **more)
    return gather(request, CATALOGUE, ("op.latency.p50",), now=time.time(), tool="t", rules={}, bounds=Bounds())


BODIES = st.one_of(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["seconds", "processing_ms", "failed"]), inner),
    ).map(json.dumps),
)


@given(BODIES)
def test_no_body_makes_the_reader_raise(body: str) -> None:
    for fact in facts_of_recalls([Answer("recalls", PATH, 1.0, "h", body)]):
        assert fact.known or fact.unknown is not None


def test_without_an_answer_nothing_is_said() -> None:
    assert facts_of_recalls([Answer("http", PATH, 1.0, "h", "{}")]) == []
