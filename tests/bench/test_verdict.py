"""What a set of targets says of a run."""

import json
from typing import Any

import pytest
from tests.bench.made import benchmark, run

from engram_diagnose.bench.document import Verdict, overall
from engram_diagnose.bench.verdict import judge, knee_of
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.verification.benchmark import read_benchmark


@pytest.fixture
def judged(catalogue: Catalogue, limits: dict[str, float]):  # type: ignore[no-untyped-def]
    def judge_runs(*runs: dict[str, Any], targets: str = "floor") -> dict[tuple[str, ...], Verdict]:
        read_benchmark("made", json.dumps(benchmark(*runs)).encode())  # what is judged is of the format
        found = judge(runs, catalogue, limits, targets=targets)
        return {(one.workload, one.on, *one.scope.values()): one for one in found}

    return judge_runs


def test_a_server_within_the_floor_passes_it(judged: Any) -> None:
    found = judged(run("store", slow=0.09))
    assert {key: one.state for key, one in found.items()} == {
        ("store", "op.error_share", "store"): "pass",
        ("store", "op.latency.p99", "store"): "pass",
        ("store", "op.rate", "store"): "pass",
    }
    assert all(one.target_set == "floor" for one in found.values())


@pytest.mark.parametrize(("slow", "state"), [(0.049, "pass"), (0.05, "pass"), (0.051, "fail")])
def test_a_limit_itself_is_kept(slow: float, state: str, judged: Any) -> None:
    assert judged(run("recall", rate=6000, slow=slow))["recall", "op.latency.p99", "recall"].state == state


def test_each_set_holds_the_same_run_to_its_own_figures(judged: Any) -> None:
    one = run("store", slow=0.007)
    key = ("store", "op.latency.p99", "store")
    states = {targets: judged(one, targets=targets)[key] for targets in ("floor", "target", "baseline")}
    assert [(found.limit, found.state) for found in states.values()] == [(0.1, "pass"), (0.01, "pass"), (0.005, "fail")]


def test_a_set_is_silent_on_what_it_does_not_state(judged: Any) -> None:
    found = judged(run("mixed", rate=11_000), targets="floor")
    assert not any(on == "ops.rate" for _, on, *_ in found)
    assert judged(run("mixed", rate=11_000), targets="target")["mixed", "ops.rate"].state == "pass"


def test_a_server_that_serves_too_few_fails_only_where_enough_was_offered(judged: Any) -> None:
    key = ("store", "op.rate", "store")
    assert judged(run("store", rate=1020, served=0.9))[key].state == "fail"
    found = judged(run("store", rate=500))[key]
    assert (found.state, found.measured, found.reason) == ("not measured", None, "500/s were offered")
    found = judged(run("store", rate=500, served=0.8))[key]
    assert (found.state, found.measured) == ("fail", pytest.approx(400))


@pytest.mark.parametrize("reason", ["client-lag", "client-cpu", "not-delivered", "unstable", "aborted"])
def test_where_the_client_was_the_bottleneck_nothing_is_failed(reason: str, judged: Any) -> None:
    found = judged(run("store", slow=5.0, served=0.5, reasons=[reason]))
    states = {one.on: one.state for one in found.values()}
    assert states == {"op.error_share": "pass", "op.latency.p99": "invalid", "op.rate": "invalid"}
    assert overall(states.values()) == "invalid"


@pytest.mark.parametrize(
    ("reason", "state"), [("client-lag", "pass"), ("client-cpu", "pass"), ("not-delivered", "invalid"),
                          ("unstable", "invalid"), ("aborted", "invalid")],
)  # fmt: skip
def test_a_latency_that_is_kept_although_the_client_was_late_is_kept(reason: str, state: str, judged: Any) -> None:
    """Its delay is in the latency; but a load that was not sent, or not to its end, tells nothing."""
    assert judged(run("store", reasons=[reason]))["store", "op.latency.p99", "store"].state == state


@pytest.mark.parametrize("reason", ["client-cpu", "not-delivered"])
def test_what_a_busy_client_never_sent_is_no_failure_of_the_server(reason: str, judged: Any) -> None:
    unsent = run("recall", served=0.5, errors={"not-served": 10_000}, reasons=[reason])
    states = {one.on: one.state for one in judged(unsent, targets="floor").values()}
    assert states["op.error_share"] == "invalid"
    assert overall(states.values()) == "invalid"
    refused = run("recall", served=0.5, errors={"not-served": 10_000, "http-503": 900}, reasons=[reason])
    assert judged(refused, targets="floor")["recall", "op.error_share", "recall"].state == "fail"


def test_what_a_client_with_time_to_spare_could_not_send_is_the_servers(judged: Any) -> None:
    found = judged(run("recall", served=0.5, errors={"not-served": 10_000}), targets="floor")
    assert found["recall", "op.error_share", "recall"].state == "fail"


def test_failed_requests_fail_the_run_and_make_its_latency_say_nothing(judged: Any) -> None:
    found = judged(run("store", errors={"http-503": 900, "timeout": 3}))
    assert found["store", "op.error_share", "store"].state == "fail"
    assert found["store", "op.error_share", "store"].reason == "http-503 900, timeout 3"
    assert found["store", "op.latency.p99", "store"].state == "not measured"
    assert "latencies are of the rest" in found["store", "op.latency.p99", "store"].reason


def test_a_quantile_of_too_few_operations_is_not_measured(judged: Any) -> None:
    found = judged(run("recall", rate=100, seconds=5), targets="baseline")
    assert found["recall", "op.latency.p50", "recall"].state == "pass"
    assert found["recall", "op.latency.p99", "recall"].reason == "500 good answers, and 1,000 are needed"


def test_a_burst_is_held_to_its_rate_and_to_no_latency(judged: Any) -> None:
    found = judged(run("burst", rate=52_000, seconds=1, slow=3.0), targets="target")
    assert {on: one.state for (_, on, *_), one in found.items()} == {"op.error_share": "pass", "ops.burst_rate": "pass"}


def test_a_burst_that_was_too_much_is_told_by_its_rate_and_one_that_was_refused_by_its_errors(judged: Any) -> None:
    found = judged(run("burst", rate=52_000, seconds=1, served=0.1, errors={"not-served": 30_000, "timeout": 20}),
                   targets="target")  # fmt: skip
    assert {on: one.state for (_, on, *_), one in found.items()} == {"op.error_share": "pass", "ops.burst_rate": "fail"}
    found = judged(run("burst", rate=52_000, seconds=1, errors={"http-503": 3000}), targets="floor")
    assert {one.state for one in found.values()} == {"fail"}


def test_a_thousand_clients_are_judged_where_there_were_a_thousand(judged: Any) -> None:
    key = ("mixed", "client.connections")
    assert judged(run("mixed", clients=1000), targets="target")[key].state == "pass"
    assert key not in judged(run("mixed", clients=64), targets="target")
    assert judged(run("mixed", clients=1000, errors={"reset": 900}), targets="target")[key].state == "fail"
    unsent = run("mixed", clients=1000, errors={"not-served": 9000}, reasons=["client-cpu", "not-delivered"])
    assert judged(unsent, targets="target")[key].state == "invalid"
    late = run("burst", rate=52_000, seconds=1, served=0.1, clients=1000, errors={"not-served": 30_000})
    assert judged(late, targets="target")["burst", "client.connections"].state == "pass"


# Ramps


def steps(*rates: tuple[float, float, float], reasons: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Steps of (offered rate, served share, slow answers in seconds); the last has the reasons."""
    made = [run("ramp", rate=rate, seconds=3, served=served, slow=slow, order=order)
            for order, (rate, served, slow) in enumerate(rates, 1)]  # fmt: skip
    made[-1]["validity"] |= {"valid": not reasons, "reasons": list(reasons)}
    return made


def test_the_knee_is_the_highest_rate_that_was_served_in_time(limits: dict[str, float]) -> None:
    ramp = steps((1000, 1, 0.002), (2000, 1, 0.004), (4000, 0.7, 0.9), (3000, 1, 0.02))
    knee = knee_of(ramp, limits, most_p99={"recall": 0.01, "store": 0.01})
    assert (knee.rate, knee.ended) == (pytest.approx(2000), "server")
    assert knee_of(ramp, limits, most_p99={"recall": 0.05}).rate == pytest.approx(3000)


def test_a_ramp_that_the_client_ended_fails_no_server(judged: Any) -> None:
    ramp = steps((4000, 1, 0.002), (8000, 0.8, 0.9), reasons=("not-delivered",))
    found = judged(*ramp, targets="target")["ramp", "ops.rate"]
    assert (found.state, found.measured) == ("invalid", pytest.approx(4000))
    assert found.runs == (1, 2)


def test_a_ramp_passes_and_fails_by_its_knee(judged: Any) -> None:
    passing, failing = steps((12_000, 1, 0.002), (24_000, 0.5, 1.0)), steps((4000, 1, 0.002), (8000, 0.5, 1.0))
    assert judged(*passing, targets="target")["ramp", "ops.rate"].state == "pass"
    assert judged(*failing, targets="target")["ramp", "ops.rate"].state == "fail"
    assert judged(*failing, targets="floor") == {}


def test_a_server_that_cannot_bear_the_first_step_has_a_knee_of_nought(judged: Any) -> None:
    found = judged(*steps((250, 0.5, 3.0)), targets="target")["ramp", "ops.rate"]
    assert (found.state, found.measured) == ("fail", 0.0)
