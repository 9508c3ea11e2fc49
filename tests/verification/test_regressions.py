"""Against a saved baseline: the rules' own limits, and outside the noise."""

from pathlib import Path
from typing import Any

import pytest
from made_sides import AFTER, BEFORE, Made

from engram_diagnose.verifying import compare_with_baseline

PACK = """\
schema: engram-diagnose/rules/v1
pack: site
version: 1.0.0
overrides:
  - rule: symptom.p99-regressed
    expect_rev: 1
    reason: our tail is noisy
    owner: us
    expires: 2099-01-01
    set: {params.rise: 200%}
"""


def compared(before: Made, now: Made, *packs: Path, assumed: bool = False) -> Any:
    return compare_with_baseline("good", before.bundle(), "now", now.bundle(), packs, assumed=assumed)


def states(document: Any) -> dict[str, str]:
    order = ("regressed", "inconclusive", "not comparable", "held")
    found: dict[str, list[str]] = {}
    for one in document["regressions"]:
        found.setdefault(one["rule"], []).append(one["state"])
    return {rule: min(several, key=order.index) for rule, several in found.items()}


def test_a_day_like_the_baseline_holds() -> None:
    found = compared(Made(), Made(end=AFTER, seed=2))
    assert found["verdict"]["state"] == "held"
    ends = ("p99", "throughput", "cache-hit", "memory-overhead")
    assert set(states(found)) == {f"symptom.{end}-regressed" for end in ends}
    assert found["kind"] == "baseline"


@pytest.mark.parametrize(
    ("now", "rule"),
    [
        (Made(end=AFTER, latency=0.013, seed=2), "symptom.p99-regressed"),
        (Made(end=AFTER, rate=700, seed=2), "symptom.throughput-regressed"),
        (Made(end=AFTER, hits=0.6, seed=2), "symptom.cache-hit-regressed"),
        (Made(end=AFTER, overhead=2.6, seed=2), "symptom.memory-overhead-regressed"),
    ],
)
def test_each_of_the_guides_regressions_is_found(now: Made, rule: str) -> None:
    found = compared(Made(), now)
    assert found["verdict"]["state"] == "regressed"
    assert states(found)[rule] == "regressed"
    assert [one for one, state in states(found).items() if state == "regressed"] == [rule]


def test_a_rise_that_is_not_outside_the_noise_is_no_regression() -> None:
    before, now = Made(minutes=11), Made(end=AFTER, minutes=11, seed=2)
    before.interval = now.interval = 60
    found = compared(before, now)
    assert "regressed" not in states(found).values()
    assert found["verdict"]["state"] == "inconclusive"


def test_fewer_clients_explain_less_throughput() -> None:
    found = compared(Made(), Made(end=AFTER, rate=500, clients=40, seed=2))
    assert states(found)["symptom.throughput-regressed"] == "not comparable"
    entry = next(one for one in found["regressions"] if one["rule"] == "symptom.throughput-regressed")
    assert "fewer clients" in entry["note"]


def test_more_load_explains_more_latency_but_less_load_does_not() -> None:
    more = compared(Made(), Made(end=AFTER, rate=3000, latency=0.02, seed=2))
    less = compared(Made(), Made(end=AFTER, rate=500, latency=0.02, seed=2))
    assert states(more)["symptom.p99-regressed"] == "not comparable"
    assert states(less)["symptom.p99-regressed"] == "regressed"


def test_the_limits_are_those_of_the_rules_in_force(tmp_path: Path) -> None:
    worse = Made(end=AFTER, latency=0.013, seed=2)
    entry = compared(Made(), worse)["regressions"][0]
    assert (entry["limit"], entry["limit_text"], entry["parameter"]) == (0.2, "20 %", "rise")
    (tmp_path / "site.yaml").write_text(PACK, encoding="utf-8")
    found = compared(Made(), Made(end=AFTER, latency=0.013, seed=2), tmp_path / "site.yaml")
    assert states(found)["symptom.p99-regressed"] == "held"
    assert found["regressions"][0]["limit"] == 2.0


def test_a_baseline_that_was_beyond_the_limit_already_has_lost_nothing() -> None:
    found = compared(Made(hits=0.6), Made(end=AFTER, hits=0.5, seed=2))
    assert states(found)["symptom.cache-hit-regressed"] == "held"


def test_without_any_figure_the_baseline_says_so() -> None:
    with pytest.raises(ValueError, match="holds no figure"):
        compared(Made(without=("up",), series={}, minutes=0), Made(end=AFTER))


def test_the_times_of_the_sides_are_those_of_the_bundles() -> None:
    found = compared(Made(), Made(end=AFTER, seed=2))
    assert found["before"]["end"] < found["after"]["start"]
    assert BEFORE < AFTER
