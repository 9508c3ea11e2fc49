"""One decision per parameter: who is heard, what bounds it, and what waits."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from engram_diagnose.engine.advice.advise import Advice, advise
from engram_diagnose.engine.advice.decision import Decision
from engram_diagnose.engine.advice.past import Past
from engram_diagnose.engine.advice.record import Application, KeyChange, Realised
from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.facts.fact import Fact, Status, point
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.rulebase import builtin_files, load_rules

GIB, MIB = 2.0**30, 2.0**20
NOW = 1_700_000_000.0
DAY = 86_400.0
Given = Mapping[str, float | str]

SLOW_READS: Given = {
    "host.arch": "x86_64",
    "workload.memory_constrained": 0.0,
    "mem.available": 8 * GIB,
    "op.latency.p99{operation=recall}": 0.045,
    "cache.llc_miss_ratio": 0.25,
    "cache.miss_ratio": 0.25,
    "config.activation.prefetch_distance": 2,
    "config.storage.hot_tier_size": 512 * MIB,
    "host.cores": 24,
    "mem.total": 20 * GIB,
    "activation.cache_hit_ratio": 0.62,
}
HEALTHY: Given = {
    "host.arch": "x86_64",
    "workload.memory_constrained": 0.0,
    "mem.total": 20 * GIB,
    "mem.available": 8 * GIB,
    "host.cores": 24,
    "op.latency.p99{operation=recall}": 0.004,
    "activation.cache_hit_ratio": 0.95,
    "config.storage.hot_tier_size": 512 * MIB,
}


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def facts(given: Given, *, window: float = 300.0) -> list[Fact]:
    found = []
    for name, value in given.items():
        reference = parse_reference(name)
        known = value if isinstance(value, str) else point(float(value))
        found.append(Fact(reference.name, known, Status.MEASURED, scope_of(dict(reference.labels)), "test", "db1",
                          NOW, window))  # fmt: skip
    return found


def advice(builtin: Expert, given: Given, *, sizing: bool = False, past: Past | None = None,
           dialect: str = "guide", at: float = NOW) -> Advice:  # fmt: skip
    diagnosis = builtin.diagnose(facts(given), Subject("db1:7432", "db1", at, dialect))
    return advise(diagnosis, sizing=sizing, past=past)


def decision(found: Advice, parameter: str) -> Decision:
    return next(one for one in found.decisions if one.name == parameter)


def names(found: Advice, standing: str = "advised") -> list[str]:
    return [one.name for one in found.of(standing)]


def applied(parameter: str, before: float, after: float, at: float, *, state: str = "applied") -> Application:
    change = KeyChange(parameter, "key", point(before), point(after), "some.cause")
    return Application(at, "db1:7432", "/f", "a", "b", "guide", (change,), (), state, "", 1)  # type: ignore[arg-type]


def test_a_cause_of_a_missed_target_changes_what_it_names_and_no_table_adds_to_it(builtin: Expert) -> None:
    found = advice(builtin, SLOW_READS)
    assert names(found) == ["config.activation.prefetch_distance", "config.storage.hot_tier_size"]
    assert decision(found, "config.activation.prefetch_distance").wanted == point(12.0)
    assert decision(found, "config.storage.hot_tier_size").wanted == point(2048 * MIB)


def test_causes_that_agree_are_named_together(builtin: Expert) -> None:
    one = decision(advice(builtin, SLOW_READS), "config.activation.prefetch_distance")
    assert one.chosen.rank == 1
    assert {voice.rule for voice in one.agreeing} >= {"activation.prefetch-out-of-range"}
    assert not one.conflicting


def test_nothing_is_advised_on_a_healthy_server(builtin: Expert) -> None:
    assert advice(builtin, HEALTHY).decisions == ()


def test_sizing_is_for_those_who_ask(builtin: Expert) -> None:
    found = advice(builtin, HEALTHY, sizing=True)
    assert decision(found, "config.storage.hot_tier_size").wanted == point(2048 * MIB)
    assert all(one.chosen.sizing for one in found.decisions)


def test_a_concluded_cause_beats_a_table(builtin: Expert) -> None:
    large = {**SLOW_READS, "config.storage.hot_tier_size": 3000 * MIB}
    one = decision(advice(builtin, large, sizing=True), "config.storage.hot_tier_size")
    assert one.wanted == point(6000 * MIB)  # double, where the table says 2048 MiB
    assert not one.chosen.sizing


def test_sizing_never_takes_shards_away(builtin: Expert) -> None:
    many = {**HEALTHY, "config.storage.hot_tier_shards": 512}
    assert "config.storage.hot_tier_shards" not in names(advice(builtin, many, sizing=True))


def test_sizing_takes_memory_back(builtin: Expert) -> None:
    huge = {**HEALTHY, "config.storage.warm_tier_size": 12 * GIB}
    assert decision(advice(builtin, huge, sizing=True), "config.storage.warm_tier_size").wanted == point(6 * GIB)


def test_what_a_release_does_not_read_is_said_and_not_advised(builtin: Expert) -> None:
    found = advice(builtin, SLOW_READS, dialect="engram-0.1")
    assert names(found) == []
    assert "config.storage.hot_tier_size" in names(found, "ignored")


def test_a_setting_of_the_machine_is_ignored_with_the_one_it_serves(builtin: Expert) -> None:
    assert "host.huge_pages" in names(advice(builtin, HEALTHY, sizing=True))
    assert "host.huge_pages" in names(advice(builtin, HEALTHY, sizing=True, dialect="engram-0.1"), "ignored")


def test_a_cause_that_is_less_likely_than_not_changes_nothing_and_is_named(builtin: Expert) -> None:
    policy = replace(builtin.loaded.policy, least_confidence=0.9999)
    diagnosis = builtin.diagnose(facts(SLOW_READS), Subject("db1:7432", "db1", NOW, "guide"))
    found = advise(replace(diagnosis, policy=policy))
    assert found.decisions == ()
    assert {one.cause.rule.id for one in found.refused} >= {"memory.cache-misses"}


CONSTANT = b"""\
schema: engram-diagnose/rules/v1
pack: site.test
rules:
  - id: site.search-width
    rev: 1
    kind: cause
    title: Searches are not as wide as ours
    when: cpu.busy > 90%
    when_true: likely
    explains: [symptom.recall-slow]
    impact: {on: 'op.latency.p99{operation=recall}', relief: 'op.latency.p99{operation=recall} / 2'}
    recommend:
      - set:
          config.hnsw.ef_search: 100
    given: {cpu.busy: 95%, config.hnsw.ef_search: 200}
    tests: [fires]
"""


def test_what_was_left_out_stands_beside_another_cause_that_asks_for_a_change() -> None:
    other = CONSTANT.replace(b"site.test", b"site.other").replace(b"site.search-width", b"site.narrower")
    other = other.replace(b"ef_search: 100", b"ef_search: current / 2")
    site = expert(load(builtin_files(), [{"site.yaml": CONSTANT}, {"other.yaml": other}]))
    given = {"cpu.busy": 0.95, "op.latency.p99{operation=recall}": 0.045, "config.hnsw.ef_search": 50}
    one = decision(advice(site, given), "config.hnsw.ef_search")
    assert (one.standing, one.wanted, one.chosen.rule) == ("advised", point(25.0), "site.narrower")
    assert [(voice.rule, voice.wanted) for voice in one.conflicting] == [("site.search-width", point(100.0))]


def test_what_a_release_does_not_read_is_ignored_also_where_it_would_make_worse() -> None:
    site = expert(load(builtin_files(), [{"site.yaml": CONSTANT}]))
    given = {"cpu.busy": 0.95, "op.latency.p99{operation=recall}": 0.045, "config.hnsw.ef_search": 50}
    assert decision(advice(site, given, dialect="engram-0.1"), "config.hnsw.ef_search").standing == "ignored"


@pytest.mark.parametrize(("current", "standing"), [(200, "advised"), (50, "held"), (100, None)])
def test_what_would_make_worse_what_it_is_for_is_told_and_not_done(current: int, standing: str | None) -> None:
    site = expert(load(builtin_files(), [{"site.yaml": CONSTANT}]))
    given = {"cpu.busy": 0.95, "op.latency.p99{operation=recall}": 0.045, "config.hnsw.ef_search": current}
    found = [one for one in advice(site, given).decisions if one.name == "config.hnsw.ef_search"]
    assert [one.standing for one in found] == ([standing] if standing else [])
    for one in found:
        assert one.wanted == point(100.0)
        assert ("make worse" in one.reason) is (standing == "held")


def test_increases_stay_within_the_joint_memory_budget(builtin: Expert) -> None:
    crowded = {**SLOW_READS, "config.storage.hot_tier_size": 4 * GIB, "config.storage.warm_tier_size": 11 * GIB}
    found = advice(builtin, crowded)
    assert found.budget.limit == 16 * GIB
    assert found.budget.total <= 16 * GIB


def test_an_increase_without_room_is_held(builtin: Expert) -> None:
    full = {**SLOW_READS, "config.storage.warm_tier_size": 17 * GIB}
    found = advice(builtin, full)
    assert "config.storage.hot_tier_size" not in names(found)


def test_a_key_that_was_changed_and_not_measured_since_is_not_advised_again(builtin: Expert) -> None:
    after = {**SLOW_READS, "config.storage.hot_tier_size": 2048 * MIB}
    past = Past((applied("config.storage.hot_tier_size", 512 * MIB, 2048 * MIB, NOW - 60),))
    found = advice(builtin, after, past=past)
    assert "config.storage.hot_tier_size" not in names(found)
    assert "not measured since" in decision(found, "config.storage.hot_tier_size").reason


def test_a_key_whose_server_was_not_restarted_is_not_advised_again(builtin: Expert) -> None:
    after = {**SLOW_READS, "config.storage.hot_tier_size": 2048 * MIB, "process.uptime": 3 * DAY}
    past = Past((applied("config.storage.hot_tier_size", 512 * MIB, 2048 * MIB, NOW - DAY),))
    assert "config.storage.hot_tier_size" in names(advice(builtin, after, past=past), "held")


def test_new_evidence_allows_the_next_step(builtin: Expert) -> None:
    after = {**SLOW_READS, "config.storage.hot_tier_size": 2048 * MIB, "process.uptime": DAY / 2}
    past = Past((applied("config.storage.hot_tier_size", 512 * MIB, 2048 * MIB, NOW - DAY),))
    one = decision(advice(builtin, after, past=past), "config.storage.hot_tier_size")
    assert (one.standing, one.wanted) == ("advised", point(4096 * MIB))


def test_a_file_that_moved_on_since_it_was_measured_holds_the_keys_that_moved(builtin: Expert) -> None:
    found = advice(builtin, SLOW_READS, past=Past(in_file={"config.storage.hot_tier_size": point(1024 * MIB)}))
    assert names(found) == ["config.activation.prefetch_distance"]
    assert names(found, "held") == ["config.storage.hot_tier_size"]


def test_a_file_that_is_newer_than_the_server_was_not_measured(builtin: Expert) -> None:
    running = {**SLOW_READS, "process.uptime": DAY}
    assert names(advice(builtin, running, past=Past(modified=NOW - DAY / 2))) == []
    assert names(advice(builtin, running, past=Past(modified=NOW - 2 * DAY)))


def test_a_change_is_not_turned_back_by_other_advice(builtin: Expert) -> None:
    past = Past((applied("config.storage.hot_tier_size", 8192 * MIB, 512 * MIB, NOW - DAY),))
    found = advice(builtin, SLOW_READS, past=past)
    assert "to and fro" in decision(found, "config.storage.hot_tier_size").reason


@pytest.mark.parametrize(
    "freed",
    [
        Past((applied("config.storage.hot_tier_size", 8192 * MIB, 512 * MIB, NOW - 90 * DAY),)),
        Past((applied("config.storage.hot_tier_size", 8192 * MIB, 512 * MIB, NOW - DAY, state="rolled back"),)),
        Past(
            (applied("config.storage.hot_tier_size", 8192 * MIB, 512 * MIB, NOW - DAY),),
            (Realised(1, NOW, "db1:7432", "op.latency.p99", INSTANCE, "some.cause", "worse", 1.0, 2.0, 0.5, 1.5,
                      None, None),),
        ),
    ],
    ids=["long ago", "rolled back", "found worse"],
)  # fmt: skip
def test_it_may_be_turned_back_when_it_is_over(builtin: Expert, freed: Past) -> None:
    assert "config.storage.hot_tier_size" in names(advice(builtin, SLOW_READS, past=freed))


def test_groups_run_from_reversible_to_planned(builtin: Expert) -> None:
    found = advice(builtin, {**HEALTHY, "workload.stated_class": "read-heavy"}, sizing=True)
    order = ["now", "next restart", "planned"]
    groups = [order.index(one.group) for one in found.of("advised")]
    assert groups == sorted(groups)
    assert decision(found, "config.hnsw.m").group == "planned"


def test_the_same_facts_in_any_order_give_the_same_advice(builtin: Expert) -> None:
    backwards = dict(reversed(list(SLOW_READS.items())))
    assert names(advice(builtin, SLOW_READS, sizing=True)) == names(advice(builtin, backwards, sizing=True))


def test_a_cause_never_moves_a_figure_against_its_own_symptom(builtin: Expert) -> None:
    scalar = {
        **HEALTHY,
        "op.latency.p99{operation=recall}": 0.03,
        "simd.isa": "avx2",
        "simd.available": 1,
        "simd.similarity_time": 100e-6,
        "pmu.ipc": 1.1,
        "config.activation.simd_enabled": 0,
        "config.activation.simd_batch_size": 32,
    }
    found = advice(builtin, scalar)
    assert "config.activation.simd_enabled" in names(found)
    assert "config.activation.simd_batch_size" not in names(found)


def test_a_change_that_was_undone_by_hand_holds_nothing_back(builtin: Expert) -> None:
    past = Past((applied("config.storage.hot_tier_size", 512 * MIB, 2048 * MIB, NOW - 60),))
    assert "config.storage.hot_tier_size" in names(advice(builtin, SLOW_READS, past=past))


def test_the_largest_gives_way_where_the_tables_ask_for_too_much(builtin: Expert) -> None:
    small = {"host.cores": 4, "mem.total": 0.3 * GIB, "workload.stated_class": "write-heavy"}
    found = advice(builtin, small, sizing=True)
    assert found.budget.limit is not None
    assert found.budget.total <= found.budget.limit
