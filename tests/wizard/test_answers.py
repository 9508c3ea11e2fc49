"""What an operator states goes before what was measured, in every table that reads it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.diagnosis import Diagnosis, Expert, Subject
from engram_diagnose.engine.facts.fact import Fact, Status, Value, point
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of
from engram_diagnose.wizard.answers import (
    INSTRUCTIONS,
    STORAGES,
    WORKLOADS,
    UnusableAnswerError,
    cores_of,
    memory_of,
    nodes_of,
    one_of,
    stated_facts,
)

GIB = 2.0**30
MEASURED: dict[str, Value] = {
    "host.cores": point(8),
    "cpu.available_cores": point(4),
    "mem.total": point(16 * GIB),
    "cgroup.mem_limit": point(8 * GIB),
    "mem.available_share": point(0.05),
    "recall.rate": point(10),
    "store.rate": point(90),
    "numa.nodes": point(1),
    "simd.isa": "none",
}
"""A small container on a small host that is short of memory and only written to."""


def diagnosis(ready: Expert, stated: tuple[Fact, ...]) -> Diagnosis:
    measured = [Fact(name, value, source="measured") for name, value in MEASURED.items()]
    disk = Fact("disk.rotational", point(1), scope=scope_of({"device": "sda"}))
    return ready.diagnose([*measured, disk, *stated], Subject(dialect="guide"))


def fitting(ready: Expert, *stated: Fact) -> dict[str, Value | None]:
    memory = diagnosis(ready, stated).memory
    return {name: memory.value(f"fit.{name}") for name in (
        "hnsw.m", "storage.hot_tier_shards", "activation.prefetch_distance", "threads.recall_workers",
        "storage.hot_tier_size", "storage.warm_tier_size", "storage.use_huge_pages", "consolidation.batch_size",
        "memory_budget", "storage.mmap_populate", "wal.sync_mode", "numa.aware", "activation.avx_version",
        "activation.simd_enabled")}  # fmt: skip


@pytest.mark.parametrize(("workload", "links"), [
    ("read-heavy", 32), ("write-heavy", 16), ("balanced", 24), ("memory-constrained", 8),
])  # fmt: skip
def test_a_stated_load_goes_before_the_measured_one(ready: Expert, workload: str, links: float) -> None:
    assert fitting(ready, *stated_facts(workload=workload))["hnsw.m"] == point(links)


def test_stated_cores_go_before_those_of_host_and_quota(ready: Expert) -> None:
    found = fitting(ready, *stated_facts(cores=40))
    assert found["storage.hot_tier_shards"] == point(128)
    assert found["activation.prefetch_distance"] == point(16)
    assert found["threads.recall_workers"] == point(40)


def test_a_stated_quota_may_be_a_fraction(ready: Expert) -> None:
    assert fitting(ready, *stated_facts(cores=2.5))["threads.recall_workers"] == point(3)


def test_stated_memory_goes_before_that_of_host_and_group(ready: Expert) -> None:
    found = fitting(ready, *stated_facts(memory=64 * GIB))
    assert found["storage.hot_tier_size"] == point(6553 * 2**20)
    assert found["storage.warm_tier_size"] == point(19660 * 2**20)
    assert found["storage.use_huge_pages"] == point(1)
    assert found["consolidation.batch_size"] == point(5000)
    assert found["memory_budget"] == pytest.approx(point(0.8 * 64 * GIB))


def test_stated_storage_goes_before_what_the_device_says(ready: Expert) -> None:
    assert fitting(ready)["wal.sync_mode"] == "immediate"
    found = fitting(ready, *stated_facts(storage="ssd"))
    assert (found["wal.sync_mode"], found["storage.mmap_populate"]) == ("batch", point(1))


def test_stated_nodes_and_instructions_go_before_the_detected_ones(ready: Expert) -> None:
    found = fitting(ready, *stated_facts(numa_nodes=2, simd="avx2"))
    assert found["numa.aware"] == point(1)
    assert (found["activation.avx_version"], found["activation.simd_enabled"]) == ("avx2", point(1))


def test_nothing_stated_leaves_what_was_measured(ready: Expert) -> None:
    assert stated_facts() == ()
    assert fitting(ready)["hnsw.m"] == point(8)


def test_a_statement_is_on_record_as_the_operators() -> None:
    facts = stated_facts(workload="balanced", cores=4, memory=GIB, storage="hdd", numa_nodes=1, simd="neon")
    assert all((fact.status, fact.source, fact.scope) == (Status.RECORDED, "the operator", INSTANCE) for fact in facts)


def test_every_statement_is_of_a_fact_that_the_catalogue_has_with_such_a_value(ready: Expert) -> None:
    catalogue = ready.loaded.catalogue
    for words, option in ((WORKLOADS, "workload"), (STORAGES, "storage"), (INSTRUCTIONS, "simd")):
        for word in words:
            for fact in stated_facts(**{option: word}):  # type: ignore[arg-type]  # one option at a time
                spec = catalogue.spec(fact.name)
                assert spec is not None
                assert not isinstance(fact.value, str) or fact.value in spec.values


class TestReading:
    def test_cores_are_a_number(self) -> None:
        assert [cores_of(text) for text in ("24", " 2.5 ", "0.5 cores")] == [24, 2.5, 0.5]

    def test_memory_has_a_unit(self) -> None:
        assert [memory_of(text) for text in ("64GiB", "1.5 TiB", "512 MiB", "64 GB")] == [
            64 * GIB, 1536 * GIB, GIB / 2, 64e9,
        ]  # fmt: skip

    def test_nodes_are_whole(self) -> None:
        assert nodes_of("2") == 2

    def test_words_may_be_written_otherwise(self) -> None:
        assert one_of(" Read_Heavy ", WORKLOADS) == "read-heavy"

    @pytest.mark.parametrize("text", ["", "0", "-4", "9e9", "four", "4 GiB", "nan", "inf", "1e400", "24x", "٣"])
    def test_what_is_no_number_of_cores_is_refused(self, text: str) -> None:
        with pytest.raises(UnusableAnswerError, match="write 24"):
            cores_of(text)

    @pytest.mark.parametrize("text", ["", "64", "1 KiB", "64G", "5 s", "-1 GiB", "1e9 TiB", "much"])
    def test_what_is_no_amount_of_memory_is_refused(self, text: str) -> None:
        with pytest.raises(UnusableAnswerError, match="such as 64GiB or 512MiB"):
            memory_of(text)

    @pytest.mark.parametrize("text", ["", "0", "1.5", "2000", "two"])
    def test_what_is_no_number_of_nodes_is_refused(self, text: str) -> None:
        with pytest.raises(UnusableAnswerError, match="NUMA nodes"):
            nodes_of(text)

    @given(st.text())
    def test_any_text_is_an_answer_or_refused_in_one_plain_line(self, text: str) -> None:
        refusals = [refusal(parse, text) for parse in (cores_of, memory_of, nodes_of)]
        assert all(line.isprintable() and len(line) < 800 for line in refusals)


def refusal(parse: Callable[[str], float], text: str) -> str:
    """What is said of an answer; empty for one that is taken."""
    try:
        parse(text)
    except UnusableAnswerError as error:
        return str(error)
    return ""
