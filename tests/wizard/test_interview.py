"""The dialogue: what it asks, what it says, and the wish that comes of it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.advice.decision import same
from engram_diagnose.engine.facts.fact import point
from engram_diagnose.render.layout import cells
from engram_diagnose.tuning import Tuning, Wish
from engram_diagnose.wizard.answers import INSTRUCTIONS, STORAGES, WORKLOADS, stated_facts

if TYPE_CHECKING:
    from conftest import Desk

KNOWN = stated_facts(workload="balanced", cores=24, memory=64 * 2.0**30, storage="ssd", numa_nodes=1, simd="avx2")
ALL = Wish(sizing=True, stated=KNOWN)
MIB = 2.0**20


def advised(tuning: Tuning) -> dict[str, object]:
    """Every value that would be set, by its key."""
    return {one.key.key: one.wanted for one in tuning.advice.of("advised") if one.key is not None}


def answered(desk: "Desk", **answers: str | list[str]) -> Wish:
    """The wish after an interview with everything known; keyword `hnsw_index__M` answers for `hnsw_index.M`."""
    found = desk.answer({name.replace("__", "."): one for name, one in answers.items()}, ALL)
    assert found is not None
    return found


class TestQuestions:
    def test_only_what_is_not_known_is_asked(self, desk: "Desk") -> None:
        desk.answer({})
        questions = [prompt for prompt in desk.asked if "leave unknown" in prompt]
        assert questions == ["kind of load [leave unknown]", "storage [leave unknown]"]

    def test_an_answer_becomes_a_stated_fact(self, desk: "Desk") -> None:
        found = desk.answer({"kind of load": "write-heavy", "storage": "SSD"})
        assert found is not None
        assert found.stated[-2:] == (*stated_facts(workload="write-heavy"), *stated_facts(storage="ssd"))
        assert advised(desk.tune(found))["wal.sync_mode"] == "batch"

    def test_enter_leaves_it_unknown_and_says_what_is_not_sized_for_it(self, desk: "Desk") -> None:
        found = desk.answer({"kind of load": "balanced"})
        assert found is not None
        assert "wal.sync_mode" not in advised(desk.tune(found))
        assert "not sized for want of it: reading the warm tier at the start, log sync mode." in desk.transcript
        assert "log sync mode: needs --storage" in desk.transcript

    def test_a_wrong_answer_is_asked_again_with_what_is_allowed(self, desk: "Desk") -> None:
        found = desk.answer({"storage": ["floppy", "hdd"]})
        assert found is not None
        assert found.stated[-1:] == stated_facts(storage="hdd")
        assert "'floppy' is none of ssd, hdd." in desk.transcript

    def test_a_question_mark_explains_more(self, desk: "Desk") -> None:
        desk.answer({"storage": ["?", "ssd"]})
        assert "lsblk -d -o NAME,ROTA" in desk.transcript

    def test_what_was_detected_is_shown(self, desk: "Desk") -> None:
        desk.answer({})
        assert desk.said[:3] == [
            "Detected:",
            "  cores       24 cores (as you stated)",
            "  memory      64 GiB (as you stated)",
        ]

    def test_nothing_is_asked_of_the_host_where_no_sizing_was_asked_for(self, desk: "Desk") -> None:
        assert desk.answer({}, Wish()) == Wish()
        assert desk.asked == []
        assert "0 changes to the configuration." in desk.said

    def test_a_release_that_reads_no_setting_is_told_so_and_nothing_is_asked(self, desk: "Desk") -> None:
        desk.dialect = "engram-0.1"
        assert desk.answer({}, ALL) == ALL
        assert desk.asked == []
        assert "this release does not read them" in desk.transcript


class TestChanges:
    def test_accepting_everything_is_sizing_with_the_same_facts(self, desk: "Desk") -> None:
        assert desk.answer({}, ALL) == ALL
        assert len(desk.asked) == len(advised(desk.tune(ALL)))

    def test_each_change_says_what_why_its_cost_its_class_and_its_bounds(self, desk: "Desk") -> None:
        desk.text = "[storage]\nhot_tier_size_mb = 512\n"
        desk.answer({}, ALL)
        start = next(n for n, line in enumerate(desk.said) if "storage.hot_tier_size_mb" in line)
        assert desk.said[start].endswith("storage.hot_tier_size_mb: hot tier size")
        assert desk.said[start + 1 : start + 7] == [
            "  change      512 (512 MiB) -> 6553 (6.4 GiB)",
            "  asked by    Hot tier size by memory (table fit.hot-tier)",
            "  cost        a larger tier takes memory from the warm tier's page cache and",
            "                other processes, a smaller one sends more reads to files",
            "  when        takes effect when the server is restarted",
            "  bounds      16 MiB to 8 GiB",
        ]

    def test_n_leaves_a_setting_out(self, desk: "Desk") -> None:
        found = answered(desk, wal__segment_size_mb="n")
        assert found == replace(ALL, without=frozenset({"config.wal.segment_size"}))

    def test_a_accepts_this_and_all_that_follow(self, desk: "Desk") -> None:
        assert answered(desk, activation__avx_version="a") == ALL
        assert desk.asked == ['activation.avx_version ["avx2"]']

    @pytest.mark.parametrize(("text", "mib"), [("3000", 3000), ("3 GiB", 3072), ("512MiB", 512)])
    def test_a_value_replaces_the_advised_one_in_the_keys_unit_or_its_own(
        self, desk: "Desk", text: str, mib: float
    ) -> None:
        found = answered(desk, storage__hot_tier_size_mb=text)
        assert found.values == {"config.storage.hot_tier_size": point(mib * MIB)}
        assert f"hot_tier_size_mb = {mib:g}".encode() in desk.tune(found).result

    def test_a_value_becomes_what_the_key_can_hold_and_that_is_said(self, desk: "Desk") -> None:
        found = answered(desk, storage__hot_tier_size_mb="2 GB")
        assert found.values == {"config.storage.hot_tier_size": point(1907 * MIB)}
        assert "Taken: 1907 (1.86 GiB)." in desk.transcript

    @pytest.mark.parametrize(("key", "wrong", "message"), [
        ("storage__hot_tier_size_mb", "9000", "out of bounds: 16 MiB to 8 GiB"),
        ("storage__hot_tier_size_mb", "5 ms", "is no value for it; write one such as 6553 (6553 MiB)"),
        ("storage__hot_tier_size_mb", "big", "is no value for it"),
        ("wal__sync_mode", "never", "is none of batch, immediate"),
        ("consolidation__enabled", "2", "is neither true nor false"),
        ("thread_pools__store_workers", "2.5", "is no whole number"),
        ("monitoring__trace_sampling_rate", "200%", "out of bounds"),
    ])  # fmt: skip
    def test_a_value_that_cannot_be_is_said_and_asked_again(
        self, desk: "Desk", key: str, wrong: str, message: str
    ) -> None:
        assert answered(desk, **{key: [wrong, ""]}) == ALL
        assert message in desk.transcript

    def test_a_switch_and_a_word_can_be_replaced_too(self, desk: "Desk") -> None:
        found = answered(desk, consolidation__enabled="off", wal__sync_mode="Immediate")
        assert found.values == {"config.consolidation.enabled": point(0), "config.wal.sync_mode": "immediate"}

    def test_a_question_mark_explains_the_setting_and_the_reason(self, desk: "Desk") -> None:
        answered(desk, storage__hot_tier_size_mb=["?", ""])
        assert "setting Memory for the hot tier" in desk.transcript
        assert "reason A tenth of the memory" in desk.transcript
        assert "raising it lowers op.latency.p50" in desk.transcript

    def test_typing_what_is_configured_leaves_it_as_it_is(self, desk: "Desk") -> None:
        desk.text = "[wal]\nflush_interval_ms = 250\n"
        found = answered(desk, wal__flush_interval_ms="250")
        assert found == replace(ALL, without=frozenset({"config.wal.flush_interval"}))

    def test_sizing_never_lowers_the_shards_and_neither_does_the_wizard(self, desk: "Desk") -> None:
        desk.text = "[storage]\nhot_tier_shards = 32\n"
        assert answered(desk, storage__hot_tier_shards=["16", ""]) == ALL
        assert "at least 32" in desk.transcript or "32 to 65,536 (sizing never lowers it)" in desk.transcript


class TestWhatIsComputedFromAnother:
    def test_the_links_limits_follow_a_typed_m(self, desk: "Desk") -> None:
        found = answered(desk, hnsw_index__M="40")
        values = advised(desk.tune(found))
        assert [values[f"hnsw_index.{key}"] for key in ("M", "max_m", "max_m0")] == [point(40), point(80), point(80)]
        assert "hnsw_index.max_m [80]" in desk.asked

    def test_they_follow_even_where_the_file_fitted_the_advised_one(self, desk: "Desk") -> None:
        desk.text = "[hnsw_index]\nmax_m = 48\nmax_m0 = 48\n"
        assert "hnsw_index.max_m" not in advised(desk.tune(ALL))
        found = answered(desk, hnsw_index__M="40")
        assert advised(desk.tune(found))["hnsw_index.max_m"] == point(80)

    def test_a_limit_that_was_typed_stays(self, desk: "Desk") -> None:
        found = answered(desk, hnsw_index__M="40", hnsw_index__max_m="100")
        values = advised(desk.tune(found))
        assert [values[f"hnsw_index.{key}"] for key in ("max_m", "max_m0")] == [point(100), point(80)]

    def test_they_follow_the_m_that_is_left_as_it_is(self, desk: "Desk") -> None:
        desk.text = "[hnsw_index]\nM = 16\nmax_m = 100\n"
        found = answered(desk, hnsw_index__M="n")
        values = advised(desk.tune(found))
        assert "hnsw_index.M" not in values
        assert (values["hnsw_index.max_m"], values["hnsw_index.max_m0"]) == (point(32), point(32))

    def test_they_are_left_out_with_an_m_that_nobody_knows(self, desk: "Desk") -> None:
        found = answered(desk, hnsw_index__M="n")
        assert not [key for key in advised(desk.tune(found)) if key.startswith("hnsw_index.") and "ax_m" in key]
        assert "So is what is computed from it: config.hnsw.max_m, config.hnsw.max_m0." in desk.transcript


class TestMemory:
    def test_the_summary_adds_the_shares_up(self, desk: "Desk") -> None:
        answered(desk)
        assert desk.said[-8:] == [
            "",
            "Memory of all tiers and buffers together",
            "  6.4 GiB     hot tier size, with this change",
            "  19.2 GiB    warm tier size, with this change",
            "  64 MiB      log buffer size, with this change",
            "  25.7 GiB    together, of the 51.2 GiB they may take",
            "",
            "Nothing is written yet.",
        ]

    def test_what_is_typed_counts_and_what_is_left_out_counts_as_it_is(self, desk: "Desk") -> None:
        desk.text = "[storage]\nwarm_tier_size_mb = 1024\n"
        answered(desk, storage__hot_tier_size_mb="1536", storage__warm_tier_size_mb="n")
        assert "1.5 GiB hot tier size, with this change" in desk.transcript
        assert "1 GiB warm tier size, as configured" in desk.transcript

    def test_no_tier_may_take_what_the_others_need(self, desk: "Desk") -> None:
        found = answered(desk, storage__warm_tier_size_mb=["60 GiB", "40 GiB"])
        assert "64 MiB to 44.7 GiB (all tiers and buffers share the memory)" in desk.transcript
        assert found.values == {"config.storage.warm_tier_size": point(40 * 1024 * MIB)}

    def test_a_budget_that_nobody_knows_is_said(self, desk: "Desk") -> None:
        desk.text = "[storage]\nhot_tier_size_mb = 512\n"
        desk.answer({}, Wish(sizing=True))
        assert "512 MiB together; nobody knows how much they may take: state --memory" in desk.transcript


class TestEnding:
    def test_q_changes_nothing(self, desk: "Desk") -> None:
        assert desk.answer({"storage": "q"}) is None
        assert desk.said[-1] == "Stopped; nothing is changed."

    @pytest.mark.parametrize("raised", [EOFError, KeyboardInterrupt])
    def test_the_end_of_the_input_and_an_interrupt_change_nothing(
        self, desk: "Desk", raised: type[BaseException]
    ) -> None:
        def ask(prompt: str, default: str) -> str:
            raise raised

        assert desk.interview(ask) is None
        assert desk.said[-1] == "Stopped; nothing is changed."

    def test_who_never_answers_is_not_asked_for_ever(self, desk: "Desk") -> None:
        assert desk.interview(lambda prompt, default: "gibberish") is None
        assert desk.said[-1] == "Stopped: 10 answers in a row gave none; nothing is changed."

    def test_who_only_asks_for_explanations_is_not_answered_for_ever(self, desk: "Desk") -> None:
        assert desk.interview(lambda prompt, default: "?") is None


ANSWERS = st.one_of(
    st.sampled_from(["", "", "", "n", "?", "1", "8", "64", "100", "4096", "1e9", "2 GiB", "1 s", "10%", "true", "off",
                     "batch", "balanced", "read-heavy", "memory-constrained", "hdd", "avx512", "12GiB", "-1", "0"]),
    st.text(max_size=8),
)  # fmt: skip
FILES = st.sampled_from([
    "",
    "[hnsw_index]\nM = 16\nmax_m = 32\n",
    "[storage]\nhot_tier_size_mb = 65536\nwarm_tier_size_mb = 4096\nhot_tier_shards = 512\n[wal]\nbuffer_size_mb = 1\n",
])  # fmt: skip


def one_after_the_other(answers: list[str]) -> Callable[[str, str], str]:
    """The answers in their order, then Enter."""
    left = chain(answers, repeat(""))
    return lambda prompt, default: next(left)


@given(st.lists(ANSWERS, max_size=70), FILES, st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_answers_end_within_80_columns_with_every_value_in_its_bounds(
    desk: "Desk", answers: list[str], text: str, known: bool
) -> None:
    desk.text = text
    desk.said.clear()
    found = desk.interview(one_after_the_other(answers), ALL if known else Wish(sizing=True))
    assert all(cells(line) <= 80 and line.isprintable() for line in desk.said)
    if found is None:
        return
    tuning = desk.tune(found)
    for one in tuning.advice.of("advised"):
        if one.name in found.values:
            assert same(one.wanted, found.values[one.name])
            assert within(one.parameter.low, one.wanted, one.parameter.high)
    budget = tuning.advice.budget
    if not text and budget.limit is not None:
        assert budget.total <= budget.limit
    assert found.without <= tuning.diagnosis.catalogue.parameters.keys()


@given(
    st.sampled_from([*WORKLOADS, ""]), st.none() | st.floats(0.1, 512), st.none() | st.floats(2.0**28, 2.0**42),
    st.sampled_from([*STORAGES, ""]), st.none() | st.integers(1, 8), st.sampled_from([*INSTRUCTIONS, ""]), FILES,
)  # fmt: skip
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_accepting_everything_gives_back_the_wish_whatever_is_known(
    desk: "Desk", workload: str, cores: float | None, memory: float | None, storage: str, nodes: int | None,
    simd: str, text: str,
) -> None:  # fmt: skip
    desk.text = text
    facts = stated_facts(workload=workload, cores=cores, memory=memory, storage=storage, numa_nodes=nodes, simd=simd)
    wish = Wish(sizing=True, stated=facts)
    assert desk.answer({}, wish) == wish


def within(low: float, value: object, high: float) -> bool:
    return not isinstance(value, tuple) or low <= value[0] <= value[1] <= high
