"""Slow operations by space: found, told apart, explained, with PromQL to paste."""

import json
from typing import Any

import promql_parser
import pytest
from made_latencies import Made, bundle_of, counter, gauge, steady

from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.render.slow_queries import render_slow_queries, slow_queries_markdown
from engram_diagnose.rulebase import load_rules
from engram_diagnose.slow_queries import analysis
from engram_diagnose.slow_queries.analysis import analyse, latency_symptoms

EXPERT = expert(load_rules())


def analysed(*made: Made, over: float | None = None, **options: Any) -> dict[str, Any]:
    document = analyse(bundle_of(*made, **options), EXPERT, over=over)
    json.dumps(document, allow_nan=False)
    return document


def names(found: list[dict[str, Any]]) -> list[str]:
    return [f"{one['operation']}/{one['space']}" for one in found]


def pattern(document: dict[str, Any], name: str, position: int = 0) -> tuple[str, str]:
    one = next(item for item in document["slow"][position]["patterns"] if item["name"] == name)
    return one["state"], one["sentence"]


def test_a_slow_space_is_found_behind_quick_ones_and_the_slowest_stands_first():
    document = analysed(
        Made("recall", "acme", steady(0.03)),
        Made("recall", "huge", steady(0.3), rate=steady(1.0)),
        Made("recall", "default", steady(0.002), rate=steady(10_000.0)),
        Made("store", "default", steady(0.004)),
    )
    assert names(document["slow"]) == ["recall/huge", "recall/acme"]
    assert names(document["within"]) == ["recall/default", "store/default"]


def test_the_limit_is_ten_milliseconds_unless_another_is_said():
    made = Made("recall", "acme", steady(0.015))
    assert names(analysed(made)["slow"]) == ["recall/acme"]
    assert names(analysed(made, over=0.05)["within"]) == ["recall/acme"]
    assert analysed(made, over=0.05)["over"] == "50 ms"


def test_a_bucket_that_reaches_over_the_limit_and_under_it_is_not_sure():
    document = analysed(Made("recall", "acme", steady(0.015)), over=0.015)
    assert (document["slow"], names(document["unsure"])) == ([], ["recall/acme"])


def test_a_background_operation_is_marked():
    document = analysed(Made("consolidation", "default", steady(0.3)), Made("recall", "default", steady(0.3)))
    assert {one["operation"]: one["background"] for one in document["slow"]} == {"consolidation": True, "recall": False}


def test_without_any_latency_the_reason_and_the_way_to_get_it_are_said():
    document = analysed(more=(counter("engram_store_operations_total", 5),))
    assert document["slow"] == document["within"] == []
    assert document["unknown"][0]["why"]
    assert "--prometheus" in document["unknown"][0]["get_by"]
    assert "No latency is known" in render_slow_queries(document)


# Causes


IMMEDIATE = '[wal]\nsync_mode = "immediate"\n'


def waits_for_the_wal(space: str = "default") -> tuple[dict[str, Any], ...]:
    return (
        counter("engram_wal_bytes_written_total", 16e6),
        counter("engram_store_bytes_total", 2e6),
        counter("engram_store_operations_total", 500, memory_space=space),
    )


def test_every_slow_operation_has_causes_of_its_own():
    document = analysed(
        Made("recall", "a", steady(0.3)),
        Made("store", "a", steady(0.3)),
        more=waits_for_the_wal(),
        configuration=IMMEDIATE,
    )
    by_name = {one["operation"]: [cause["rule"] for cause in one["causes"]] for one in document["slow"]}
    assert "storage.wal-write-amplification" in by_name["store"]
    assert "storage.wal-write-amplification" not in by_name["recall"]


def test_what_is_said_of_one_space_is_held_against_that_space_alone():
    """The hit ratio of the small space is bad, that of the large one good; together they are good."""

    def ratio(space: str, hits: float) -> tuple[dict[str, Any], ...]:
        return (
            counter("engram_activation_cache_requests_total", 100, memory_space=space),
            counter("engram_activation_cache_hits_total", hits, memory_space=space),
        )

    document = analysed(
        Made("recall", "cold", steady(0.05)), Made("recall", "warm", steady(0.05)),
        more=(*ratio("cold", 20), *ratio("warm", 99)),
    )  # fmt: skip
    causes = {one["space"]: [cause["rule"] for cause in one["causes"]] for one in document["slow"]}
    assert "tiers.hot-tier-too-small" in causes["cold"]
    assert "tiers.hot-tier-too-small" not in causes["warm"]


def test_the_first_cause_of_an_operation_is_told_although_another_stands_above_it_in_the_whole(monkeypatch):
    whole = analysis.document

    def guesses(found: Any) -> dict[str, Any]:
        written = whole(found)
        return {**written, "causes": [cause | {"negligible": True} for cause in written["causes"]]}

    monkeypatch.setattr(analysis, "document", guesses)
    document = analysed(Made("store", "a", steady(0.3)), more=waits_for_the_wal("a"), configuration=IMMEDIATE)
    assert document["slow"][0]["causes"][0]["negligible"] is False
    assert all(cause["negligible"] for cause in document["slow"][0]["causes"][1:])


def test_ranks_count_within_the_operation():
    document = analysed(Made("store", "a", steady(0.3)), more=waits_for_the_wal("a"), configuration=IMMEDIATE)
    ranks = [cause["rank"] for cause in document["slow"][0]["causes"]]
    assert ranks == list(range(1, len(ranks) + 1))


@pytest.mark.parametrize("operation", ["recall", "store", "activation", "pattern_completion", "consolidation"])
def test_every_operation_of_the_guide_has_a_symptom_of_its_latency(operation):
    assert latency_symptoms(EXPERT, operation)


# Patterns


def test_slowness_that_comes_and_goes_is_told_with_its_worst_time():
    document = analysed(Made("recall", "a", lambda minute: 0.3 if 40 < minute <= 50 else 0.002), over=0.001)
    state, said = pattern(document, "time")
    assert state == "no"  # 2 ms is over a limit of 1 ms
    document = analysed(Made("recall", "a", lambda minute: 0.3 if 40 < minute <= 50 else 0.002))
    state, said = pattern(document, "time")
    assert state == "yes"
    assert "slow at times: over the limit in 2 of 12 windows of 5 min" in said
    assert "in the one that ended 21:58 UTC" in said


def test_slowness_all_the_time_is_no_pattern_of_time():
    state, said = pattern(analysed(Made("recall", "a", steady(0.03))), "time")
    assert (state, said.startswith("slow all the time: over the limit in 12 of 12")) == ("no", True)


def test_slowness_that_follows_the_load_is_told():
    busy = Made("recall", "a", lambda minute: 0.004 * (1 + minute / 4), lambda minute: 100 + 40 * minute)
    assert pattern(analysed(busy), "load")[0] == "yes"
    idle = Made("recall", "a", lambda minute: 0.004 * (1 + minute / 4), lambda minute: 4000 - 40 * minute)
    assert pattern(analysed(idle), "load")[0] == "no"


def test_larger_spaces_that_are_slower_are_told():
    spaces = {"a": 0.003, "b": 0.015, "c": 0.03, "d": 0.07, "e": 0.3}
    made = [Made("recall", space, steady(latency)) for space, latency in spaces.items()]
    sizes = {space: 10.0**position for position, space in enumerate(spaces, 3)}
    counts = tuple(gauge("engram_graph_nodes", size, memory_space=space) for space, size in sizes.items())
    document = analysed(*made, more=counts)
    state, said = pattern(document, "size")
    assert (state, said) == ("yes", "larger spaces are slower: rank correlation +1.00 over 5 spaces")


def test_one_slow_operation_among_quick_ones_is_told_apart_from_a_slow_server():
    alone = analysed(Made("recall", "a", steady(0.3)), Made("store", "a"), Made("activation", "a"))
    assert pattern(alone, "operation") == ("yes", "the only one that is slow here; within the limit: activation, store")
    every = analysed(Made("recall", "a", steady(0.3)), Made("store", "a", steady(0.3)))
    assert pattern(every, "operation")[0] == "no"


def test_too_few_windows_are_no_pattern():
    document = analysed(Made("recall", "a", steady(0.03)), seconds=600, window=600.0)
    assert pattern(document, "time") == ("unknown", "2 of the 6 windows of samples that it takes (--since)")


# Deep dive


def test_every_query_is_promql_of_that_slice():
    document = analysed(Made("store", 'a"b\\c', steady(0.3)), more=waits_for_the_wal('a"b\\c'))
    queries = document["slow"][0]["queries"]
    assert len(queries) >= 4
    for query in queries:
        promql_parser.parse(query["promql"])
        assert 'instance="db1:7432"' in query["promql"]
    assert 'memory_space="a\\"b\\\\c"' in queries[0]["promql"]
    assert "[1h]" in queries[0]["promql"]


# What is printed


def test_a_summary_is_a_line_for_each_and_the_whole_has_causes_and_queries():
    document = analysed(Made("store", "a", steady(0.3)), more=waits_for_the_wal("a"), configuration=IMMEDIATE)
    summary, whole = render_slow_queries(document, summary=True), render_slow_queries(document)
    assert "store in a  P99 100 ms to 500 ms" in summary
    assert "histogram_quantile" not in summary
    assert "histogram_quantile" in whole
    assert "storage.wal-write-amplification" in whole
    wide = [line for line in whole.splitlines() if len(line) > 80 and "instance=" not in line]
    assert wide == []


def test_hostile_names_of_spaces_do_no_harm():
    name = "x\x1b[31m`|<b>](http://evil)"
    document = analysed(Made("store", name, steady(0.3)), Made("recall", name, steady(0.001)))
    assert "\x1b" not in render_slow_queries(document)
    shown = slow_queries_markdown(document)
    assert "\x1b" not in shown
    assert "<b>" not in shown[: shown.index("op.latency.p99")]


def test_more_than_can_be_told_are_listed():
    made = [Made("recall", f"s{number}", steady(0.3), rate=steady(10.0)) for number in range(25)]
    document = analysed(*made, seconds=1200, window=1200.0)
    assert (len(document["slow"]), len(document["also_slow"])) == (20, 5)
    assert render_slow_queries(document).count("P99 100 ms to 500 ms") == 25


def test_a_bar_in_a_space_s_name_ends_no_cell():
    table = slow_queries_markdown(analysed(Made("recall", "a|b", steady(0.3))))
    assert "| recall in a\\|b |" in table


def test_what_is_unknown_is_told_with_its_space_and_what_would_tell():
    document = analysed(Made("recall", "acme", steady(0.3)))
    unknown = {"operation": "recall", "space": "b", "background": True, "why": "no samples", "get_by": "wait"}
    document["unknown"] = [unknown]
    said = "recall in b (background): no samples; get it by: wait"
    assert said in slow_queries_markdown(document)
    assert said in render_slow_queries(document, console_width=200)
