"""Only what nobody could find out is asked, and only where a setting of this server hangs on it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.tuning import Wish
from engram_diagnose.wizard.answers import stated_facts
from engram_diagnose.wizard.detected import detected
from engram_diagnose.wizard.questions import QUESTIONS, open_questions

if TYPE_CHECKING:
    from conftest import Desk

ALL = Wish(sizing=True)


def flags(desk: "Desk", *facts: Fact) -> list[str]:
    return [question.flag for question in open_questions(desk.tune(replace(ALL, stated=facts)).diagnosis)]


def test_where_nothing_is_known_everything_is_asked(desk: "Desk") -> None:
    assert flags(desk) == ["--workload", "--cores", "--memory", "--storage", "--numa-nodes", "--simd"]


def test_what_is_known_is_not_asked(desk: "Desk") -> None:
    known = stated_facts(cores=8, memory=2.0**34, numa_nodes=1, simd="neon")
    assert flags(desk, *known) == ["--workload", "--storage"]


def test_each_question_is_settled_by_its_own_answer(desk: "Desk") -> None:
    answers = ("balanced", "24", "64GiB", "ssd", "1", "avx2")
    for question, answer in zip(QUESTIONS, answers, strict=True):
        assert question.flag not in flags(desk, *question.facts_of(answer))


def test_a_measured_figure_that_serves_as_well_is_enough(desk: "Desk") -> None:
    exporter = (Fact("host.cores", point(8)), Fact("mem.total", point(2.0**34)))
    assert {"--cores", "--memory"}.isdisjoint(flags(desk, *exporter))
    device = Fact("disk.rotational", point(0), scope=scope_of({"device": "nvme0n1"}))
    assert "--storage" not in flags(desk, device)


def test_a_release_that_reads_none_of_the_settings_is_asked_nothing_about(desk: "Desk") -> None:
    desk.dialect = "engram-0.1"
    assert flags(desk) == []


def test_a_question_names_the_settings_that_need_it(desk: "Desk") -> None:
    found = {one.flag: {spec.name for spec in one.parameters} for one in open_questions(desk.tune(ALL).diagnosis)}
    assert "config.hnsw.m" in found["--workload"]
    assert {"config.wal.sync_mode", "config.storage.mmap_populate"} <= found["--storage"]
    assert "config.numa.aware" in found["--numa-nodes"]


def test_what_only_unwanted_settings_need_is_not_asked(desk: "Desk") -> None:
    diagnosis = desk.tune(ALL).diagnosis
    found = open_questions(diagnosis, wanted=lambda parameter: parameter.name == "config.wal.sync_mode")
    assert [question.flag for question in found] == ["--storage"]


def test_what_was_detected_is_shown_with_its_source(desk: "Desk") -> None:
    measured = (
        Fact("host.cores", point(24), source="/sys/devices/system/cpu"),
        Fact("mem.total", point(2.0**36), source="/proc/meminfo"),
        Fact("recall.rate", point(9), source="metrics"),
        Fact("store.rate", point(1), source="metrics"),
        Fact("mem.available_share", point(0.5)),
    )
    assert dict(detected(desk.tune(replace(ALL, stated=measured)).diagnosis)) == {
        "load": "read-heavy (90 % of operations are recalls)",
        "cores": "24 cores (/sys/devices/system/cpu)",
        "memory": "64 GiB (/proc/meminfo)",
    }


def test_what_was_stated_is_shown_as_that(desk: "Desk") -> None:
    told = stated_facts(workload="balanced", cores=2.5, storage="hdd")
    assert dict(detected(desk.tune(replace(ALL, stated=told)).diagnosis)) == {
        "load": "balanced (as you stated)",
        "cores": "2.5 cores (as you stated)",
        "storage": "a rotating disk (as you stated)",
    }
