"""A patch says when it has worked and when to take it back, in words and in PromQL."""

from dataclasses import replace
from typing import Any

import promql_parser
import pytest

from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.diagnosis import target_facts
from engram_diagnose.engine.facts.fact import Fact, Value, point
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.language.rule import Verification
from engram_diagnose.patch.criteria import Criterion, Deployment, Limits, criteria
from engram_diagnose.rulebase import load_rules

LOADED = load_rules()
CATALOGUE = LOADED.catalogue
STORES = scope_of({"operation": "store", "space": "default"})
SLOW_STORES = Prediction("op.latency.p99", STORES, "ms", "lower", 0.093, 0.004, 0.02, "storage.wal-write-amplification")
FEW_STORES = Prediction("store.rate", INSTANCE, "/s", "higher", 1000.0, 1500.0, 2500.0, "storage.wal-flush-slow")
LIMITS = Limits(rise=0.2, fall=0.15, errors=0.01, restart_seconds=60)


def deployment(dialect: str = "guide", *, known: dict[str, Value] | None = None, targets: bool = True) -> Deployment:
    facts = [Fact(name, value) for name, value in (known or {}).items()]
    memory = Memory([*(target_facts(CATALOGUE, "target") if targets else ()), *facts])
    return Deployment("a:7432", CATALOGUE, CATALOGUE.dialects[dialect], LOADED.rules.rules, memory)


def verification(rule: str) -> Verification:
    return next(item.verify for item in LOADED.rules.rules[rule].recommend if item.verify is not None)


def found(*predictions: Prediction, at: Deployment | None = None, checks: Any = ()) -> list[Criterion]:
    return list(criteria(predictions, checks, at or deployment(), LIMITS))


def success(prediction: Prediction, at: Deployment | None = None) -> Criterion:
    return next(item for item in found(prediction, at=at) if item.kind == "success")


def abort(prediction: Prediction, at: Deployment | None = None) -> Criterion:
    return next(item for item in found(prediction, at=at) if item.kind == "abort")


def test_a_missed_target_within_reach_is_the_sign_of_success() -> None:
    criterion = success(SLOW_STORES)
    assert criterion.sentence == (
        "op.latency.p99{operation=store, space=default} is at most 10 ms, its target (it was 93 ms)"
    )
    assert criterion.promql is not None
    assert criterion.promql.endswith(" <= 0.01")


@pytest.mark.parametrize(
    "prediction",
    [
        replace(SLOW_STORES, low=0.03, high=0.05),  # the target stays out of reach
        replace(SLOW_STORES, measured=0.009, low=0.004, high=0.006),  # it is met already
        replace(SLOW_STORES, on="wal.flush.p99", scope=INSTANCE, high=0.004),
    ],
)
def test_else_the_predicted_interval_is(prediction: Prediction) -> None:
    criterion = success(prediction, deployment(targets=prediction.on != "wal.flush.p99"))
    assert criterion.promql is not None
    assert criterion.promql.endswith(f" <= {prediction.high:g}")
    assert "as predicted" in criterion.sentence


def test_a_figure_that_should_be_high_is_held_from_below() -> None:
    criterion = success(FEW_STORES, deployment(targets=False))
    assert criterion.promql == 'sum(rate(engram_store_operations_total{instance="a:7432"}[5m])) >= 1500'


def test_a_figure_that_gets_worse_than_the_limits_allow_aborts() -> None:
    slower, fewer = abort(SLOW_STORES), abort(FEW_STORES)
    assert slower.sentence.endswith(" is above 112 ms, 20 % worse than the 93 ms it was")
    assert slower.promql is not None
    assert slower.promql.endswith(" > 0.1116")
    assert fewer.sentence == "store.rate is below 850/s, 15 % worse than the 1,000/s it was"
    assert fewer.promql is not None
    assert fewer.promql.endswith(" < 850")
    assert slower.after_seconds == 300


def test_more_failing_operations_abort() -> None:
    errors = [item for item in found(SLOW_STORES, at=deployment(known={"op.error_share": point(0.02)}))
              if "error_share" in item.sentence]  # fmt: skip
    assert [item.sentence for item in errors] == [
        "op.error_share{operation=store, space=default} is above 3 % (it was 2 %)"
    ]
    assert errors[0].promql is not None
    assert errors[0].promql.endswith(" > 0.03")


def test_an_unknown_share_of_failures_is_said_to_be_unknown() -> None:
    sentences = [item.sentence for item in found(SLOW_STORES)]
    assert "op.error_share{operation=store, space=default} is above 1 % (what it was is not known)" in sentences


@pytest.mark.parametrize("dialect", ["guide", "engram-0.1"])
def test_a_server_that_is_down_aborts_once_the_restart_should_be_over(dialect: str) -> None:
    down = found(at=deployment(dialect))[-1]
    query = 'min(up{instance="a:7432"}) == 0 or absent(min(up{instance="a:7432"}))'
    assert (down.kind, down.promql, down.after_seconds) == ("abort", query, 60)


def test_what_a_rule_expects_is_a_sign_of_success() -> None:
    check = verification("storage.store-waits-for-wal")
    (criterion, *_) = found(checks=[(scope_of({"space": "default"}), check)])
    assert criterion.sentence == "op.latency.p99{operation=store, space=default} is below 10 ms (the target)"
    assert criterion.promql is not None
    assert criterion.promql.endswith(" < 0.01")
    assert criterion.after_seconds == check.after


def test_a_parameter_of_a_rule_is_said_as_its_figure() -> None:
    (criterion, *_) = found(checks=[(INSTANCE, verification("storage.wal-write-amplification"))])
    assert criterion.sentence == "amplification (wal.bytes_written@rate_5m / store.bytes@rate_5m) is below 3"


def test_what_promql_cannot_say_is_said_in_words_with_the_reason() -> None:
    (criterion, *_) = found(checks=[(INSTANCE, verification("locks.hot-tier-contention"))])
    assert criterion.promql is None
    assert criterion.sentence.startswith("cpu.sys_share is below ")
    assert criterion.reason == "cpu.sys_share is not published by dialect guide"


def test_the_released_server_has_words_where_it_has_no_series() -> None:
    criterion = success(SLOW_STORES, deployment("engram-0.1"))
    assert criterion.promql is None
    assert criterion.reason == "op.latency.p99 is published in no form that Prometheus scrapes"


def test_each_criterion_stands_once() -> None:
    check = (INSTANCE, verification("storage.wal-flush-slow"))
    listed = found(SLOW_STORES, SLOW_STORES, checks=[check, check])
    assert len(listed) == len(set(listed))


def test_every_criterion_of_every_rule_is_valid_or_has_a_reason() -> None:
    checks = [(INSTANCE, item.verify) for rule in LOADED.rules.rules.values() for item in rule.recommend if item.verify]
    for criterion in found(SLOW_STORES, FEW_STORES, checks=checks):
        assert criterion.sentence
        assert "$" not in criterion.sentence
        assert (criterion.promql is None) is bool(criterion.reason)
        if criterion.promql is not None:
            promql_parser.parse(criterion.promql)


def test_a_hostile_space_shows_and_does_nothing() -> None:
    space = 'a"\n[patch]\x1b[31m'
    for criterion in found(replace(SLOW_STORES, scope=Scope((("operation", "store"), ("space", space))))):
        assert criterion.sentence.isprintable()
        if criterion.promql is not None:
            promql_parser.parse(criterion.promql)
            assert "\n" not in criterion.promql
