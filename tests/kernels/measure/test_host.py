"""The host as its kernel shows it, or does not."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import host as module
from engram_diagnose.kernels.measure.bench import Cache
from engram_diagnose.kernels.measure.host import available_memory, bench_here, claimed_caches, cpus_of
from engram_diagnose.rulebase import load_rules

LIMITS = read_limits(load_rules((), thorough=False).texts, "kernels")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def write_caches(folder: Path, *rows: tuple[str, str, str, str]) -> Path:
    """Levels, types, sizes and sharers of CPU 0's caches."""
    for number, row in enumerate(rows):
        entry = folder / "cpu0" / "cache" / f"index{number}"
        entry.mkdir(parents=True)
        for name, text in zip(("level", "type", "size", "shared_cpu_list"), row, strict=True):
            (entry / name).write_text(text + "\n")
    return folder


def test_a_bench_has_the_cpus_of_this_process_and_a_thread_on_each() -> None:
    with bench_here(LIMITS, folder="/somewhere") as bench:
        assert bench.cpus == bench.pool.cpus == tuple(sorted(os.sched_getaffinity(0)))
        assert bench.folder == "/somewhere"
        assert 0 < bench.memory <= LIMITS["most_memory"]


def test_memory_is_a_share_of_what_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 2 * GIB)
    with bench_here({**LIMITS, "memory_share": 0.25, "most_memory": GIB}) as bench:
        assert bench.memory == 512 * MIB
    with bench_here({**LIMITS, "memory_share": 0.25, "most_memory": 100 * MIB}) as bench:
        assert bench.memory == 100 * MIB


def test_what_a_control_group_leaves_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 64 * GIB)
    with bench_here({**LIMITS, "memory_share": 0.25}, memory_left=256 * MIB) as bench:
        assert bench.memory == 64 * MIB


def test_caches_that_hold_data_are_read_the_smallest_first(tmp_path: Path) -> None:
    folder = write_caches(
        tmp_path,
        ("3", "Unified", "480M", "0-3"),
        ("1", "Data", "48K", "0,4"),
        ("1", "Instruction", "32K", "0,4"),
        ("2", "Unified", "2048K", "0"),
    )
    assert claimed_caches(0, folder) == (Cache(1, 48 * KIB, 2), Cache(2, 2 * MIB, 1), Cache(3, 480 * MIB, 4))


@pytest.mark.parametrize(
    "row",
    [
        ("1", "Data", "0K", "0"),
        ("1", "Data", "", "0"),
        ("1", "Data", "48X", "0"),
        ("1", "Data", "-48K", "0"),
        ("1", "Data", "9" * 30, "0"),
        ("", "Data", "48K", "0"),
        ("one", "Data", "48K", "0"),
        ("0", "Data", "48K", "0"),
        ("1", "Instruction", "48K", "0"),
    ],
)
def test_a_cache_of_which_no_size_is_claimed_is_none(tmp_path: Path, row: tuple[str, str, str, str]) -> None:
    assert claimed_caches(0, write_caches(tmp_path, row)) == ()


def test_a_kernel_that_shows_no_caches_claims_none(tmp_path: Path) -> None:
    assert claimed_caches(0, tmp_path) == ()


def test_a_cache_whose_sharers_are_not_told_has_one(tmp_path: Path) -> None:
    assert claimed_caches(0, write_caches(tmp_path, ("1", "Data", "48K", ""))) == (Cache(1, 48 * KIB, 1),)


def test_available_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:   123456 kB\n")
    assert available_memory(tmp_path / "meminfo") == 123456 << 10


@pytest.mark.parametrize("text", ["", "MemAvailable:", "MemAvailable: many kB", "\xff\xfe"])
def test_where_the_kernel_does_not_say_half_a_gibibyte_is_assumed(tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text, encoding="latin-1")
    assert available_memory(tmp_path / "meminfo") == 512 * MIB
    assert available_memory(tmp_path / "none") == 512 * MIB


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8", (0, 1, 2, 3, 8)),
        ("5", (5,)),
        ("3,1,1-2\n", (1, 2, 3)),
        ("", ()),
        ("\n", ()),
        ("7-5", ()),
        ("1-", ()),
        ("-1", ()),
        ("a,2", (2,)),
        ("²", ()),
        ("٣", ()),
    ],
)
def test_cpus_are_read_from_a_list(text: str, cpus: tuple[int, ...]) -> None:
    assert cpus_of(text) == cpus


@given(cpus=st.sets(st.integers(0, 999_999), max_size=20))
def test_a_list_of_single_cpus_gives_them_in_order(cpus: set[int]) -> None:
    assert cpus_of(",".join(map(str, cpus))) == tuple(sorted(cpus))


@given(text=st.text(max_size=40))
def test_any_text_gives_some_list(text: str) -> None:
    assert all(cpu >= 0 for cpu in cpus_of(text))


def test_a_range_that_no_kernel_has_does_not_take_all_memory() -> None:
    assert cpus_of("0-999999,3") == (3,)
    assert cpus_of("0-99999999999999") == ()
