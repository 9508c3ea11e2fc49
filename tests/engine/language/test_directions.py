"""Advice that works against its own symptom is refused where that can be told from the rule alone."""

import pytest

from engram_diagnose.engine.facts.fact import point
from engram_diagnose.engine.language.directions import direction_of, figures_of, works_against
from engram_diagnose.engine.language.loader import Loaded, load
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.rulebase import builtin_files

BUILTIN = builtin_files()
LOADED = load(BUILTIN)
FILE = """\
schema: engram-diagnose/rules/v1
pack: site.test
rules:
  - id: site.cause
    rev: 1
    kind: cause
    title: x
    when: {when}
    when_true: likely
    {hangs_on}
    recommend:
      - set:
          {setting}
    given: {{{given}}}
    tests: [fires]
"""
LATENCY = "impact: {on: 'op.latency.p99{operation=recall}', relief: 'op.latency.p99{operation=recall} / 2'}"


def rule_file(
    setting: str, *, hangs_on: str = LATENCY, given: str = "cpu.busy: 95%", when: str = "cpu.busy > 90%"
) -> bytes:
    return FILE.format(setting=setting, hangs_on=hangs_on, given=given, when=when).encode()


def loaded(data: bytes) -> Loaded:
    return load(BUILTIN, [{"site.yaml": data}])


@pytest.mark.parametrize(
    ("setting", "direction"),
    [
        ("config.hnsw.ef_search: 2 * current", "raises"),
        ("config.hnsw.ef_search: current / 2", "lowers"),
        ("config.hnsw.ef_search: max(100, current)", "raises"),
        ("config.hnsw.ef_search: min(100, config.hnsw.ef_search)", "lowers"),
        ("config.hnsw.ef_search: clamp(current, 100, 200)", None),
        ("config.hnsw.ef_search: 2000 - current", None),
        ("config.hnsw.ef_search: min(current, $cap)", "lowers"),
        ("config.hnsw.ef_search: max(current, fit.hnsw.ef_search)", None),  # what fits is not given
        ("config.hnsw.ef_search: '100'", None),  # nor what is configured
        ("config.storage.use_huge_pages: true", "raises"),
        ("config.consolidation.enabled: false", "lowers"),
        ("config.wal.sync_mode: batch", None),
        ("config.tiers.hot_to_warm: current + 1/h", "raises"),  # a range without end
    ],
)
def test_which_way_advice_goes_is_told_from_samples(setting: str, direction: str | None) -> None:
    text = rule_file(setting, hangs_on="params: {cap: {value: 100, doc: x}}")
    base = loaded(text)
    rule = base.rules.rules["site.cause"]
    one = rule.recommend[0].settings[0]
    assert direction_of(one, rule, base.catalogue.parameters[one.parameter]) == direction


@pytest.mark.parametrize(("current", "direction"), [(50, "raises"), (200, "lowers"), (100, None)])
def test_a_constant_is_held_against_the_tests_that_fire(current: int, direction: str | None) -> None:
    given = f"cpu.busy: 95%, config.hnsw.ef_search: {current}"
    base = loaded(rule_file("config.hnsw.ef_search: 100", hangs_on="", given=given))
    rule = base.rules.rules["site.cause"]
    one = rule.recommend[0].settings[0]
    assert direction_of(one, rule, base.catalogue.parameters[one.parameter]) == direction


@pytest.mark.parametrize(
    ("setting", "hangs_on"),
    [
        ("config.hnsw.ef_search: 2 * current", LATENCY),
        ("config.hnsw.ef_search: 2 * current", "explains: [symptom.recall-slow]"),
        ("config.hnsw.ef_search: current / 2", "explains: [symptom.recall-quality-low]"),
        ("config.storage.hot_tier_size: current / 2", "explains: [symptom.throughput-low]"),
        ("config.activation.simd_enabled: false", LATENCY),
    ],
)
def test_advice_that_makes_its_figure_worse_is_refused(setting: str, hangs_on: str) -> None:
    with pytest.raises(RuleBaseError, match="the advice works against its symptom"):
        loaded(rule_file(setting, hangs_on=hangs_on))


@pytest.mark.parametrize(
    ("setting", "hangs_on"),
    [
        ("config.hnsw.ef_search: current / 2", LATENCY),
        ("config.hnsw.ef_search: 2 * current", ""),  # hangs on nothing
        ("config.hnsw.ef_search: 2 * current", "explains: [symptom.recall-quality-low]"),
        (
            "config.hnsw.ef_search: 2 * current",
            "explains: [symptom.recall-slow, symptom.recall-quality-low]",
        ),  # helps one
        ("config.threads.recall_workers: 2 * current", LATENCY),  # no direction for latency
    ],
)
def test_other_advice_is_let_through(setting: str, hangs_on: str) -> None:
    loaded(rule_file(setting, hangs_on=hangs_on))


def test_the_figures_are_those_of_the_impact_else_of_the_symptoms() -> None:
    rules = LOADED.rules.rules
    wal = figures_of(rules["storage.wal-write-amplification"], rules, LOADED.catalogue)
    assert wal == {"op.latency.p99": "lower"}
    base = loaded(rule_file("config.wal.sync_mode: batch", hangs_on="explains: [symptom.throughput-low]"))
    assert figures_of(base.rules.rules["site.cause"], base.rules.rules, base.catalogue)["ops.rate"] == "higher"


def test_what_a_symptom_asks_beside_its_target_is_no_figure_to_better() -> None:
    """Too few operations are a symptom while the CPU is busy; more workers keep it busier, and that is no harm."""
    rules, catalogue = LOADED.rules.rules, LOADED.catalogue
    starved, workers = rules["cpu.workers-starved"], catalogue.parameters["config.threads.recall_workers"]
    assert "symptom.throughput-low" in starved.explains
    assert workers.effects == {"cpu.busy": "+"}
    assert not works_against(starved, workers, point(1), point(6), rules, catalogue)


def test_a_symptom_without_a_target_is_of_what_it_compares() -> None:
    rules, catalogue = LOADED.rules.rules, LOADED.catalogue
    base = loaded(rule_file("config.wal.sync_mode: batch", hangs_on="explains: [symptom.cpu-high]"))
    assert figures_of(base.rules.rules["site.cause"], base.rules.rules, base.catalogue)["cpu.busy"] == "lower"
    workers = catalogue.parameters["config.threads.recall_workers"]
    assert works_against(base.rules.rules["site.cause"], workers, point(1), point(6), base.rules.rules, catalogue)
    assert not works_against(base.rules.rules["site.cause"], workers, point(6), point(1), rules, catalogue)
