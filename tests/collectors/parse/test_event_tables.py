"""The tables of hardware events: complete, as perf lists them, and right on planted counts."""

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counting import DATA, DEVICES, DOCUMENTS, SECONDS, TABLES, all_rounds, planted, probe_answer, stat_answer
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.event_tables import Cpu, parse_cpu, table_for
from engram_diagnose.collectors.parse.event_table import EventTable
from engram_diagnose.collectors.parse.events import EventTableError, checked_tables, read_tables
from engram_diagnose.collectors.parse.pmu import TABLE_FACTS, facts_of_pmu
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.rulebase import load_rules

RECORDED = json.loads((DATA / "perf-6.12-events.json").read_text(encoding="utf-8"))
OF_THE_KERNEL = {"cache-references": "event=0x60,umask=0xff", "cache-misses": "event=0x64,umask=0x9", "hnf_mc_reqs": ""}
"""What perf's tables do not list: the generic events as Linux maps them on Zen, and the mesh's by its own name."""
BY_NAME = pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)


def facts(table: EventTable, **changes: Any) -> dict[str, Fact]:
    answers = [probe_answer(table.name), stat_answer(table, changes)]
    return {fact.name: fact for fact in facts_of_pmu(answers, TABLES.values())}


# ── every table ──────────────────────────────────────────────────────────────────────────────────


@BY_NAME
def test_every_fact_is_computed_or_absent_with_a_reason_and_a_way_to_get_it(table: EventTable) -> None:
    assert {*table.facts, *table.absent, *table.inapplicable} == TABLE_FACTS
    found = facts(table)
    for name in table.facts:
        assert found[name].known, (name, found[name].unknown)
    for name in table.absent:
        unknown = found[name].unknown
        assert unknown is not None
        assert unknown.reason is Reason.EVENT_UNSUPPORTED
        assert found[name].get_by
    for name in table.inapplicable:
        assert found[name].status is Status.NOT_APPLICABLE


@BY_NAME
def test_its_facts_are_what_python_makes_of_the_same_counts(table: EventTable) -> None:
    devices = {"uncore_imc": 2}
    found = facts(table)
    for name, fact in table.facts.items():
        python = fact.formula.text
        for group in sorted(table.groups.values(), key=lambda group: -len(group.name)):
            for alias in sorted(group.events, key=len, reverse=True):
                total = planted(alias) * devices.get(group.on, 1)
                python = re.sub(rf"\b{group.name}\.{alias}\b", repr(total), python)
        expected = eval(python, {"seconds": SECONDS, "smt": 1, "width": 8})
        if name.endswith(("_share", "_ratio")):
            expected = min(1.0, max(0.0, expected))
        assert found[name].value == (pytest.approx(expected), pytest.approx(expected)), python


@BY_NAME
def test_a_ratio_s_events_are_counted_in_one_group_and_a_group_at_one_time(table: EventTable) -> None:
    assert not [
        fact for fact in table.facts.values() if list(fact.formula.mixed_ratios(frozenset({"seconds", "smt", "width"})))
    ]
    for group in table.groups.values():
        holding = [each for each in all_rounds(table) if group.name in each.groups]
        assert len(holding) == 1
        sets = [events for events in holding[0].sets if events[0].group == group.name]
        assert all([asked.alias for asked in events] == list(group.events) for events in sets)


@BY_NAME
def test_no_round_takes_more_counters_than_there_are(table: EventTable) -> None:
    for each in all_rounds(table):
        if each.of_host:
            continue
        names = [table.groups[asked.group].events[asked.alias].name for asked in each.asked]
        assert len(names) - len(table.fixed & set(names)) <= table.counters


@BY_NAME
def test_its_facts_say_that_nobody_held_it_against_such_a_cpu(table: EventTable) -> None:
    found = facts(table)
    assert all("experimental" in found[name].quality for name in table.facts)


def test_the_catalogue_has_every_fact() -> None:
    assert load_rules().catalogue.facts.keys() >= TABLE_FACTS


# ── a few by hand ────────────────────────────────────────────────────────────────────────────────


def test_sapphire_rapids_by_hand() -> None:
    found = facts(TABLES["intel-sapphire-rapids"])
    assert found["pmu.ipc"].value == (2.0, 2.0)
    assert found["pmu.backend_stall_share"].value == (0.6, 0.6)
    assert found["pmu.memory_bound_share"].value == (0.3, 0.3)
    assert found["cache.llc_miss_ratio"].value == (0.25, 0.25)
    assert found["cache.llc_mpki"].value == (50.0, 50.0)
    assert found["tlb.walk_pki"].value == (100.0, 100.0)
    assert found["numa.remote_access_share"].value == (0.25, 0.25)
    assert found["numa.remote_access_rate"].value == (1e7, 1e7)
    assert found["membw.read"].value == (32e9, 32e9), "two controllers, 500 million lines of 64 bytes each, in 2 s"


def test_cascade_lake_shares_a_core_s_slots_between_its_threads() -> None:
    table = TABLES["intel-cascade-lake"]
    both = {f.name: f for f in facts_of_pmu([probe_answer(table.name), stat_answer(table)], [table])}
    alone = {f.name: f for f in facts_of_pmu([probe_answer(table.name, smt=False), stat_answer(table)], [table])}
    # Two threads: 2000 clocks are 1000 cycles of the core, 4000 slots, of which 1500 + 2500 + 200 are accounted for.
    assert both["pmu.backend_stall_share"].value == (0.0, 0.0)
    assert alone["pmu.backend_stall_share"].value == (pytest.approx(0.45), pytest.approx(0.45))


def test_zen_has_what_its_generation_has() -> None:
    second, third, fourth = (facts(TABLES[f"amd-zen-{n}"]) for n in (2, 3, 4))
    assert not second["pmu.backend_stall_share"].known
    assert not third["pmu.backend_stall_share"].known
    assert fourth["pmu.backend_stall_share"].value == (0.05, 0.05)
    assert not second["coherence.cross_ccx_fill_pki"].known
    assert third["coherence.cross_ccx_fill_pki"].value == (5.0, 5.0)
    assert not third["simd.packed_share"].known
    assert fourth["simd.packed_share"].value == (0.75, 0.75)
    assert third["cache.llc_miss_ratio"].status is Status.PROXY, "it is the whole host's"


def test_neoverse_takes_the_width_of_its_slots_from_the_kernel() -> None:
    table = TABLES["arm-neoverse-v1"]
    assert facts(table)["pmu.backend_stall_share"].value == (0.0375, 0.0375)
    silent = facts_of_pmu([probe_answer(table.name, width=0), stat_answer(table)], [table])
    found = {fact.name: fact for fact in silent}["pmu.backend_stall_share"]
    assert found.unknown is not None
    assert found.unknown.detail == "the kernel does not say how many slots a cycle has"


# ── names and codes, as perf has them ────────────────────────────────────────────────────────────


def terms(code: str) -> dict[str, int]:
    pairs = (term.partition("=") for term in code.split(",") if term)
    return {name: int(value, 0) for name, _, value in pairs if name != "period"}


@BY_NAME
def test_names_and_codes_are_those_that_perf_lists(table: EventTable) -> None:
    listed = RECORDED.get(table.name, {})
    for group in table.groups.values():
        for event in group.events.values():
            if group.on == "generic":
                assert event.code == ""
                continue
            expected = OF_THE_KERNEL.get(event.name, listed.get(event.name))
            assert expected is not None, f"{event.name} is not in perf's list"
            assert terms(event.code) == terms(expected), event.name


LISTED = [table for table in TABLES.values() if table.list_as]
FORMAT = {
    "event": "config:0-7,32-35",
    "umask": "config:8-15",
    "edge": "config:18",
    "any": "config:21",
    "cmask": "config:24-31",
}


@pytest.mark.skipif(
    shutil.which("perf") is None or os.geteuid() != 0, reason="needs perf, and root for a mount of its own"
)
@pytest.mark.parametrize("table", LISTED, ids=lambda table: table.name)
def test_the_perf_that_is_installed_lists_them_alike(table: EventTable, tmp_path: Path) -> None:
    for number, device in enumerate(sorted(DEVICES)):
        (tmp_path / device / "format").mkdir(parents=True)
        (tmp_path / device / "type").write_text(f"{4 if device == 'cpu' else 20 + number}\n")
        (tmp_path / device / "cpumask").write_text("0\n")
        for name, bits in FORMAT.items():
            (tmp_path / device / "format" / name).write_text(f"{bits}\n")
    script = 'mount --bind "$0" /sys/bus/event_source/devices && exec perf list --details'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(tmp_path)],
        env={**os.environ, "PERF_CPUID": table.list_as, "LC_ALL": "C", "PAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    listed = dict(re.findall(r"(?m)^  (\S+)\s*\n(?: +\[[^]]*\]\s*\n)? +cpu/(\S+)/\s*$", run.stdout))
    wanted = {
        event.name: event.code
        for group in table.groups.values()
        if not group.of_host
        for event in group.events.values()
        if event.name not in OF_THE_KERNEL
    }
    if len(listed.keys() & wanted.keys()) < len(wanted) - 2:  # an older perf takes it for the CPU before, or for none
        pytest.skip(f"this perf has no table for {table.list_as}: {run.stderr[:100]}")
    for name in wanted.keys() & listed.keys():
        assert terms(wanted[name]) == terms(listed[name]), name


# ── which CPU has which table ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cpu", "table"),
    [
        (Cpu("x86_64", "GenuineIntel", 6, 0x55, 7), "intel-cascade-lake"),
        (Cpu("x86_64", "GenuineIntel", 6, 0x55, 4), "generic-x86"),
        (Cpu("x86_64", "GenuineIntel", 6, 0x6A, 6), "intel-ice-lake"),
        (Cpu("x86_64", "GenuineIntel", 6, 0x8F, 8), "intel-sapphire-rapids"),
        (Cpu("x86_64", "GenuineIntel", 6, 0xCF, 2), "intel-emerald-rapids"),
        (Cpu("x86_64", "GenuineIntel", 6, 0xAD, 1), "intel-granite-rapids"),
        (Cpu("x86_64", "AuthenticAMD", 23, 0x31, 0), "amd-zen-2"),
        (Cpu("x86_64", "AuthenticAMD", 23, 0x01, 0), "generic-x86"),
        (Cpu("x86_64", "AuthenticAMD", 25, 0x01, 1), "amd-zen-3"),
        (Cpu("x86_64", "AuthenticAMD", 25, 0x11, 1), "amd-zen-4"),
        (Cpu("x86_64", "AuthenticAMD", 25, 0xA0, 1), "amd-zen-4"),
        (Cpu("x86_64", "AuthenticAMD", 26, 0x02, 1), "amd-zen-5"),
        (Cpu("aarch64", implementer=0x41, part=0xD0C), "arm-neoverse-n1"),
        (Cpu("aarch64", implementer=0x41, part=0xD40), "arm-neoverse-v1"),
        (Cpu("aarch64", implementer=0x41, part=0xD49), "arm-neoverse-n2"),
        (Cpu("aarch64", implementer=0x41, part=0xD4F), "arm-neoverse-v2"),
        (Cpu("aarch64", implementer=0x48, part=0xD01), "generic"),
        (Cpu("riscv64"), "generic"),
        (Cpu(), "generic"),
    ],
)
def test_a_cpu_has_the_narrowest_table(cpu: Cpu, table: str) -> None:
    found = table_for(cpu, DOCUMENTS)
    assert found is not None
    assert found.name == table


def test_cpus_are_recognised_by_what_cpuinfo_says() -> None:
    x86 = "processor: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD\nstepping\t: 1\n"
    assert parse_cpu(x86, arch="x86_64") == Cpu("x86_64", "AuthenticAMD", 25, 1, 1)
    arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd40\nCPU revision\t: 1\n"
    assert parse_cpu(arm, arch="aarch64") == Cpu("aarch64", implementer=0x41, part=0xD40)


@given(st.text())
def test_any_cpuinfo_gives_some_cpu(text: str) -> None:
    assert parse_cpu(text, arch="x86_64").arch == "x86_64"


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.text() | st.none(),
            lambda p: (
                st.lists(p)
                | st.dictionaries(st.sampled_from(["cpus", "arch", "groups", "models", "table", "counters"]), p)
            ),
        ),
    )
)
def test_what_is_no_table_is_passed_over(documents: dict[str, Any]) -> None:
    found = table_for(Cpu("x86_64", "GenuineIntel", 6, 0x8F, 8), {**DOCUMENTS, **documents})
    assert found is not None
    assert found.name == "intel-sapphire-rapids"


# ── what is wrong with a table is said at its place ──────────────────────────────────────────────


def broken(change: Callable[[dict[str, Any]], object]) -> list[str]:
    document = copy.deepcopy(DOCUMENTS["amd-zen-4.yaml"])
    change(document)
    return [str(problem) for problem in checked_tables({"mine.yaml": document}, facts=TABLE_FACTS)[1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("counters"), "mine.yaml: lacks 'counters'"),
        (lambda d: d.update(schema="x"), "schema: must be engram-diagnose/events/v1"),
        (lambda d: d.update(nonsense="1"), "nonsense: no table has this key"),
        (lambda d: d.update(status="good"), "status: is one of stable, experimental"),
        (lambda d: d["cpus"][0].update(models=["0x20-0x10"]), "cpus > 0 > models: 0x20-0x10 ends"),
        (lambda d: d["cpus"][0].update(models=["many"]), "'many' is not a whole number"),
        (lambda d: d["cpus"][0].pop("vendor"), "needs a vendor, an implementer or an arch"),
        (lambda d: d["events"].update({"unused.event": "event=0x01"}), "events > unused.event: no group counts it"),
        (lambda d: d["events"].update({"ex_ret_ops": "rm -rf"}), "events > ex_ret_ops: is not a code"),
        (lambda d: d["groups"]["slots"]["count"].update(other="nothing"), "other: counts 'nothing'"),
        (lambda d: d.update(counters="3"), "groups > pipeline: takes 4 counters, and there are 3"),
        (lambda d: d["facts"]["pmu.ipc"].update({"is": "slots.backend / misses.l1"}), "belong in one group"),
        (lambda d: d["facts"]["pmu.ipc"].update({"is": "1 / pipeline.cycels"}), "pmu.ipc > is: reads pipeline.cycels"),
        (lambda d: d["facts"]["pmu.ipc"].update({"is": "pipeline.instructions /"}), "missing at column"),
        (lambda d: d["facts"]["pmu.ipc"].update({"is": "3"}), "reads no count"),
        (lambda d: d["facts"].pop("pmu.ipc"), "facts: says nothing of pmu.ipc"),
        (lambda d: d["facts"].update({"pmu.icp": d["facts"]["pmu.ipc"]}), "pmu.icp: no fact of the counters"),
        (lambda d: d.update(inapplicable={"pmu.ipc": "no"}), "facts: says pmu.ipc twice"),
        (lambda d: d.update(fixed=["nothing"]), "fixed: no group counts nothing"),
        (lambda d: d.update(groups=["x"]), "groups: must be a mapping"),
    ],
)  # fmt: skip
def test_each_problem_names_its_place(change: Callable[[dict[str, Any]], object], said: str) -> None:
    problems = broken(change)
    assert any(said in problem for problem in problems), problems


def test_two_tables_of_one_name_are_a_problem() -> None:
    document = DOCUMENTS["amd-zen-4.yaml"]
    with pytest.raises(EventTableError, match="two tables have this name"):
        read_tables({"a.yaml": document, "b.yaml": document}, facts=TABLE_FACTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
    lambda p: st.lists(p, max_size=3) | st.dictionaries(st.text(max_size=8), p, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(DOCUMENTS["amd-zen-3.yaml"])), JSON)
def test_any_value_anywhere_in_a_table_is_accepted_or_said_to_be_wrong(key: str, value: object) -> None:
    checked_tables({"mine.yaml": {**DOCUMENTS["amd-zen-3.yaml"], key: value}}, facts=TABLE_FACTS)


@given(JSON)
def test_any_document_is_a_table_or_said_to_be_none(document: object) -> None:
    tables, problems = checked_tables({"mine.yaml": document}, facts=TABLE_FACTS)
    assert not tables
    assert problems
