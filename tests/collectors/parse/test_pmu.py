"""The facts of the counters: known where they were counted, and everywhere else unknown for the right reason."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from counting import TABLES, probe_answer, stat_answer
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.pmu import PMU_FACTS, TABLE_FACTS, facts_of_pmu
from engram_diagnose.collectors.parse.pmu_access import COUNTER_GET_BY
from engram_diagnose.engine.facts.fact import Fact, Reason, Status

ZEN = TABLES["amd-zen-4"]
GENERIC = TABLES["generic-x86"]
OF_HOST = {"cache.llc_miss_ratio", "membw.read", "membw.write", "membw.total"}


def read(*answers: Answer) -> dict[str, Fact]:
    found = facts_of_pmu(answers, TABLES.values())
    assert [fact.name for fact in found] == sorted(PMU_FACTS), "every fact, once, in order"
    return {fact.name: fact for fact in found}


def reasons(found: Mapping[str, Fact]) -> set[Reason]:
    return {fact.unknown.reason for fact in found.values() if fact.unknown is not None}


def reason(fact: Fact) -> tuple[Reason, str]:
    assert fact.unknown is not None
    return fact.unknown.reason, fact.unknown.detail


# ── nothing to count with ────────────────────────────────────────────────────────────────────────


def test_without_any_answer_nothing_was_collected() -> None:
    found = read()
    assert reasons(found) == {Reason.NOT_COLLECTED}
    assert "engram-diagnose profile" in found["pmu.ipc"].get_by


@pytest.mark.parametrize(
    ("opens", "fields", "expected"),
    [
        ({"cycles_user": "ENOENT", "cycles": "ENOENT", "target_cycles": "ENOENT"}, {}, Reason.NO_PMU),
        ({"cycles_user": "EOPNOTSUPP", "cycles": "EOPNOTSUPP"}, {}, Reason.NO_PMU),
        ({"software_user": "EACCES", "cycles_user": "EACCES"}, {"paranoid": "4"}, Reason.PARANOID),
        ({"cycles_user": "EACCES", "cycles": "EACCES"}, {"paranoid": "3"}, Reason.PARANOID),
        ({"software_user": "EPERM", "cycles_user": "EPERM"}, {"seccomp": "2"}, Reason.SECCOMP),
        ({"software_user": "ENOSYS", "cycles_user": "ENOSYS"}, {"seccomp": "2"}, Reason.SECCOMP),
        ({"software_user": "ENOSYS", "cycles_user": "ENOSYS"}, {"paranoid": ""}, Reason.KERNEL_CONFIG),
        ({"software_user": "EPERM", "cycles_user": "EPERM"}, {"seccomp": "0"}, Reason.PARANOID),
        ({"target_software": "EACCES", "target_cycles": "EACCES"}, {}, Reason.PTRACE_DENIED),
        ({"target_software": "ESRCH"}, {}, Reason.TARGET_GONE),
    ],
)
def test_what_the_kernel_refuses_is_the_reason_of_every_fact_of_the_cores(
    opens: dict[str, str], fields: dict[str, str], expected: Reason
) -> None:
    found = read(probe_answer("amd-zen-4", opens, **fields), stat_answer(ZEN))
    for name in PMU_FACTS - OF_HOST:
        if found[name].status is not Status.NOT_APPLICABLE:
            assert reason(found[name])[0] is expected, name
            assert found[name].get_by == COUNTER_GET_BY[expected], name


def test_what_needs_no_counter_of_a_core_is_known_on_a_host_that_has_only_the_others() -> None:
    found = read(probe_answer("amd-zen-4", {"target_software": "EACCES"}), stat_answer(ZEN))
    assert found["membw.total"].known
    assert not found["pmu.ipc"].known


def test_the_whole_host_may_be_forbidden_while_the_server_is_not() -> None:
    found = read(probe_answer("amd-zen-4", {"host_software": "EACCES"}), stat_answer(ZEN))
    assert reason(found["membw.total"]) == (
        Reason.PARANOID,
        "counting the whole host: EACCES, kernel.perf_event_paranoid is 2",
    )
    assert found["pmu.ipc"].known


def test_without_perf_the_tool_is_what_is_missing() -> None:
    missing = Answer("perf", "stat", 100.0, "h", None, "NO_TOOL", "perf is not installed")
    found = read(probe_answer("amd-zen-4"), missing)
    assert reason(found["pmu.ipc"]) == (Reason.NO_TOOL, "perf is not installed")
    assert found["pmu.ipc"].get_by.startswith("install perf")


def test_without_counters_it_is_not_the_tool_that_is_missing() -> None:
    missing = Answer("perf", "stat", 100.0, "h", None, "NO_TOOL", "perf is not installed")
    found = read(probe_answer("amd-zen-4", {"cycles_user": "ENOENT"}), missing)
    assert reason(found["pmu.ipc"])[0] is Reason.NO_PMU


def test_a_server_that_ended_meanwhile_has_no_counts() -> None:
    gone = Answer("perf", "stat", 100.0, "h", None, "TARGET_GONE", "process 7 ended")
    assert reason(read(probe_answer("amd-zen-4"), gone)["pmu.ipc"]) == (Reason.TARGET_GONE, "process 7 ended")


def test_on_one_node_nothing_is_remote() -> None:
    found = read(probe_answer("amd-zen-4", nodes=1), stat_answer(ZEN))
    assert found["numa.remote_access_share"].status is Status.NOT_APPLICABLE


def test_a_cpu_without_a_table_says_so() -> None:
    found = read(probe_answer("acme-9000"), stat_answer(replace(ZEN, name="amd-zen-4"), table="acme-9000"))
    assert reason(found["pmu.ipc"]) == (Reason.EVENT_UNSUPPORTED, "the table 'acme-9000' is not here")


# ── counts that are none ─────────────────────────────────────────────────────────────────────────


def test_zero_cycles_while_the_server_ran_are_not_counts() -> None:
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, {"pipeline.cycles": 0.0}))
    for name in TABLE_FACTS & ZEN.facts.keys() - OF_HOST:
        assert reason(found[name]) == (Reason.PMU_ZERO, "0 counted in 1900 ms of CPU time"), name
    assert found["membw.total"].known


def test_a_zero_that_may_be_is_one() -> None:
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, {"fills.far_memory": 0.0, "pipeline.missed": 0.0}))
    assert found["numa.remote_access_share"].value == (0.0, 0.0)
    assert found["pmu.branch_miss_ratio"].value == (0.0, 0.0)


def test_nothing_to_divide_by_is_too_few_samples() -> None:
    none = {"fills.far_memory": 0.0, "fills.near_memory": 0.0}
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, none))
    expected = (Reason.TOO_FEW_SAMPLES, "fills.far_memory and fills.near_memory is zero")
    assert reason(found["numa.remote_access_share"]) == expected
    assert found["cache.llc_mpki"].value == (0.0, 0.0)


def test_an_event_that_was_not_supported_takes_with_it_what_needs_it_and_no_more() -> None:
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, {"misses.walks": "<not supported>"}))
    assert reason(found["tlb.walk_pki"]) == (Reason.EVENT_UNSUPPORTED, "misses.walks <not supported>")
    assert found["cache.l1d_mpki"].known


def test_not_counted_is_told_from_not_running() -> None:
    changes: dict[str, float | str] = {"misses.walks": "<not counted>"}
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, changes))
    assert reason(found["tlb.walk_pki"]) == (Reason.NOT_COUNTED, "misses.walks <not counted>")
    answer = stat_answer(ZEN, changes)
    idle = replace(answer, body=(answer.body or "").replace("1900.000000", "<not counted>"))
    found = read(probe_answer("amd-zen-4"), idle)
    assert reason(found["tlb.walk_pki"]) == (
        Reason.TOO_FEW_SAMPLES,
        "the server used no CPU while it was counted",
    )


def test_counters_that_shared_their_place_too_long_tell_nothing() -> None:
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, share=49.0))
    assert reason(found["pmu.ipc"])[0] is Reason.MUX_LOW
    assert found["pmu.running_share"].value == (0.49, 0.49)
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, share=50.0))
    assert found["pmu.ipc"].known
    assert found["pmu.running_share"].value == (0.5, 0.5)


def test_a_share_far_outside_its_range_is_no_share() -> None:
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, {"slots.backend": 9e11}))
    assert reason(found["pmu.backend_stall_share"])[0] is Reason.UNPARSED
    found = read(probe_answer("amd-zen-4"), stat_answer(ZEN, {"slots.backend": 12.1e9}))
    assert found["pmu.backend_stall_share"].value == (1.0, 1.0), "a little above all is all"


def test_groups_left_out_and_events_refused_say_why() -> None:
    found = read(
        probe_answer("amd-zen-4"),
        stat_answer(
            ZEN,
            refused={"misses.walks": "event syntax error: 'cpu/..'"},
            left_out={"slots": ["TOO_EXPENSIVE", "9000 threads"], "waits": ["BOREDOM", "x"]},
        ),
    )
    assert reason(found["tlb.walk_pki"])[0] is Reason.EVENT_UNSUPPORTED
    assert "event syntax error" in reason(found["tlb.walk_pki"])[1]
    assert reason(found["pmu.backend_stall_share"]) == (Reason.TOO_EXPENSIVE, "9000 threads")
    assert reason(found["pmu.memory_bound_share"])[0] in (Reason.TOO_EXPENSIVE, Reason.UNPARSED)


def test_a_run_that_failed_is_the_reason_of_what_it_would_have_counted() -> None:
    answer = stat_answer(ZEN)
    body = json.loads(answer.body or "")
    body["rounds"][0].update(output="", reason="PARANOID", detail="Permission denied")
    found = read(probe_answer("amd-zen-4"), replace(answer, body=json.dumps(body)))
    assert reason(found["pmu.ipc"]) == (Reason.PARANOID, "Permission denied")
    assert found["membw.total"].known


def test_memory_that_no_device_counts_has_no_counter_here() -> None:
    answer = stat_answer(ZEN)
    body = json.loads(answer.body or "")
    body["rounds"] = [each for each in body["rounds"] if not each["of_host"]]
    found = read(probe_answer("amd-zen-4"), replace(answer, body=json.dumps(body)))
    assert reason(found["membw.total"]) == (Reason.NO_PMU, "no amd_umc counters here")


# ── what a known fact says of itself ─────────────────────────────────────────────────────────────


def test_a_fact_says_what_it_was_computed_from_and_for_how_long() -> None:
    fact = read(probe_answer("amd-zen-4"), stat_answer(ZEN))["pmu.ipc"]
    assert fact.source == "perf 6.12 stat: pipeline.instructions / pipeline.cycles"
    assert (fact.window, fact.host, fact.time) == (2.0, "h", 100.0)


def test_user_space_alone_is_said_to_be_that() -> None:
    found = read(probe_answer("amd-zen-4", {"cycles": "EACCES"}), stat_answer(ZEN))
    assert "without the kernel's part" in found["pmu.ipc"].quality
    assert "without the kernel's part" not in found["membw.total"].quality


def test_what_stands_in_for_something_else_is_a_proxy() -> None:
    fact = read(probe_answer("amd-zen-4"), stat_answer(ZEN))["cache.llc_miss_ratio"]
    assert (fact.status, fact.proxy_of) == (Status.PROXY, "the server's own last-level misses")


def test_the_newest_answers_count() -> None:
    old = replace(stat_answer(ZEN, {"pipeline.cycles": 4e9}), time=50.0)
    assert read(probe_answer("amd-zen-4"), stat_answer(ZEN), old)["pmu.ipc"].value == (2.0, 2.0)


def test_counts_speak_alone_where_the_probe_s_answer_is_lost() -> None:
    found = read(stat_answer(GENERIC))
    assert found["pmu.ipc"].value == (2.0, 2.0)
    found = read(stat_answer(TABLES["intel-cascade-lake"]))
    assert reason(found["pmu.backend_stall_share"]) == (
        Reason.SOURCE_ABSENT,
        "the kernel does not say whether threads share a core",
    )


# ── any bytes ────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=10),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=8), parts, max_size=3),
    max_leaves=10,
)


@given(st.text(), st.text())
def test_any_bodies_give_unknown_facts(probed: str, counted: str) -> None:
    answers = [Answer("perf", "probe", 1.0, "h", probed), Answer("perf", "stat", 2.0, "h", counted)]
    assert not any(fact.known for fact in read(*answers).values())


@given(st.sampled_from(["version", "table", "rounds", "refused", "left_out"]), JSON)
def test_any_value_in_the_body_gives_facts_or_reasons(key: str, value: object) -> None:
    read(probe_answer("amd-zen-4"), stat_answer(ZEN, **{key: value}))


@given(st.sampled_from(["of_host", "seconds", "asked", "output", "reason", "detail", "form"]), JSON)
def test_any_value_in_a_round_gives_facts_or_reasons(key: str, value: object) -> None:
    body = json.loads(stat_answer(ZEN).body or "")
    body["rounds"][0][key] = value
    read(probe_answer("amd-zen-4"), Answer("perf", "stat", 100.0, "h", json.dumps(body)))


@given(st.sampled_from(["opens", "paranoid", "seccomp", "table", "width", "smt", "nodes"]), JSON)
def test_any_value_in_the_probe_gives_facts_or_reasons(key: str, value: object) -> None:
    read(
        probe_answer("amd-zen-4", **{key: value})
        if key != "opens"
        else Answer("perf", "probe", 1.0, "h", json.dumps({"opens": value})),
        stat_answer(ZEN),
    )


@given(st.integers(0, 20_000), st.binary(max_size=6))
def test_a_body_with_bytes_in_its_middle_gives_right_facts_or_none(position: int, noise: bytes) -> None:
    body = (stat_answer(ZEN).body or "").encode()
    mutated = (body[:position] + noise + body[position:]).decode("utf-8", "surrogateescape")
    read(probe_answer("amd-zen-4"), Answer("perf", "stat", 100.0, "h", mutated))
