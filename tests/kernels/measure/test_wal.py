"""Durable writes in a folder: what they cost, and that nothing of the probe stays."""

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.probe_file import ProbeFile
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.kernels.measure.wal import ENTRY, TRIALS, WAYS, flushes_by, tails_of, wal
from engram_diagnose.rulebase import load_rules

MIB = 1 << 20
USUAL = read_limits(load_rules((), thorough=False).texts, "kernels")
LIMITS = {
    **USUAL,
    "repeats": 3,
    "wal_seconds": 0.02,
    "wal_longest": 0.5,
    "wal_most_written": 32 * MIB,
    "wal_most_file": 4 * MIB,
    "wal_least_free": 1e-9,
    "wal_tail_writes": 4,
}
NAMES = {way.name for way in WAYS}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Pool(sorted(os.sched_getaffinity(0))[:1]) as pool:
        yield Bench(LIMITS, pool.cpus, MIB, pool, folder=str(tmp_path))


def limited(bench: Bench, **limits: float) -> Bench:
    return replace(bench, limits={**bench.limits, **limits})


def of(name: str, outcomes: list[Outcome], **labels: str) -> list[Measurement]:
    return [
        one
        for one in outcomes
        if isinstance(one, Measurement) and one.name == name and labels.items() <= one.labels.items()
    ]


def notes(outcomes: list[Outcome]) -> str:
    return "\n".join(note for one in outcomes if isinstance(one, Measurement) for note in one.notes)


def refusing(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)


def test_each_way_of_writing_has_its_median_in_seconds(bench: Bench) -> None:
    found = wal(bench)
    for name in NAMES - {"wal.direct_dsync"}:  # not every file system takes direct writes
        medians = of(name, found, quantile="p50")
        assert medians
        assert all(one.unit == "s" and one.better == "lower" and one.median > 0 for one in medians)
    assert [one.labels["group"] for one in of("wal.group", found, quantile="p50")] == ["8", "64", "512"]
    assert os.listdir(bench.folder) == []


def test_what_grouping_gains_is_records_a_second_over_those_of_single_writes(bench: Bench) -> None:
    found = wal(bench)
    (single,) = of("wal.append_fsync", found, quantile="p50")
    for group in of("wal.group", found, quantile="p50"):
        (gain,) = of("wal.group_gain", found, group=group.labels["group"])
        size = int(group.labels["group"])
        assert gain.values == tuple(size * one / all_ for one, all_ in zip(single.values, group.values, strict=False))


def test_a_tail_is_given_where_there_are_enough_flushes_and_missed_where_not(bench: Bench) -> None:
    assert of("wal.write", wal(bench), quantile="p99")
    few = wal(limited(bench, wal_tail_writes=1e6, wal_most_written=8 * MIB))
    assert not of("wal.append_fsync", few, quantile="p99")
    missed = [one for one in few if isinstance(one, Unmeasured) and one.name == "wal.append_fsync"]
    assert "a 99th percentile needs 1000000" in missed[0].reason
    assert missed[0].labels == {"quantile": "p99"}


def test_writes_that_are_not_flushed_are_said_not_to_be_durable(bench: Bench) -> None:
    assert all("not durable: what writing costs without a flush" in one.notes for one in of("wal.write", wal(bench)))


def test_a_flush_that_is_faster_than_any_disk_is_none(bench: Bench) -> None:
    at_once = wal(limited(bench, wal_least_flush=1e6))
    for name in NAMES - {"wal.write"}:
        assert all("nothing was flushed to a disk" in "\n".join(one.notes) for one in of(name, at_once))
    assert "nothing was flushed" not in notes(wal(limited(bench, wal_least_flush=1e-12)))


def test_without_a_folder_nothing_is_measured_and_the_option_is_named(bench: Bench) -> None:
    (found,) = wal(replace(bench, folder=""))
    assert isinstance(found, Unmeasured)
    assert "--data-dir" in found.get_by


def test_a_folder_that_cannot_be_written_is_one_reason_not_six(bench: Bench) -> None:
    (found,) = wal(replace(bench, folder="/sys"))
    assert isinstance(found, Unmeasured)
    assert found.name == "wal"
    assert found.reason.startswith("no file can be made in the folder")


def test_a_disk_that_fills_up_meanwhile_costs_what_could_not_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "posix_fallocate", errno.ENOSPC)
    found = wal(bench)
    refused = {one.name for one in found if isinstance(one, Unmeasured) and "no space left" in one.reason}
    assert {"wal.preallocated"} <= refused <= {"wal.preallocated", "wal.direct_dsync"}
    assert of("wal.append_fsync", found)
    refusing(monkeypatch, "pwrite", errno.ENOSPC)
    assert all(isinstance(one, Unmeasured) for one in wal(bench))
    assert os.listdir(bench.folder) == []


def test_a_file_system_without_direct_writes_costs_these_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: ProbeFile, flags: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(ProbeFile, "again", refuse)
    found = wal(bench)
    refused = [one for one in found if isinstance(one, Unmeasured) and one.name == "wal.direct_dsync"]
    assert [one.reason for one in refused] == ["the file system refuses direct writes: invalid argument"]
    assert of("wal.preallocated", found)


def test_a_disk_that_takes_too_long_is_let_go(bench: Bench) -> None:
    found = wal(limited(bench, wal_longest=1e-9))
    assert all(isinstance(one, Unmeasured) and "too slow" in one.reason for one in found)
    assert {one.name for one in found} == NAMES
    assert os.listdir(bench.folder) == []


def test_never_more_is_written_than_is_allowed_nor_is_the_file_larger(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    ends: list[int] = []
    write, allocate = os.pwrite, os.posix_fallocate

    def counting(file: int, data: Any, at: int) -> int:
        written.append(len(data))
        ends.append(at + len(data))
        return write(file, data, at)

    def allocating(file: int, at: int, size: int) -> None:
        ends.append(at + size)
        allocate(file, at, size)

    monkeypatch.setattr(os, "pwrite", counting)
    monkeypatch.setattr(os, "posix_fallocate", allocating)
    wal(limited(bench, wal_seconds=1.0, wal_longest=2.0))
    assert sum(written) <= LIMITS["wal_most_written"]
    assert max(ends) <= max(LIMITS["wal_most_file"], TRIALS * 512 * ENTRY)


@given(st.floats(1e-7, 100), st.sampled_from(WAYS))
def test_a_way_flushes_once_at_least_and_within_its_bytes(seconds: float, way: Any) -> None:
    flushes = flushes_by(way, seconds, USUAL)
    assert flushes >= 1
    assert flushes * way.size <= USUAL["wal_most_file"]
    if seconds > 10:
        assert flushes == 1


@given(st.floats(1e-7, 100))
def test_all_ways_together_write_no_more_than_they_may(seconds: float) -> None:
    written = sum((flushes_by(way, seconds, USUAL) * USUAL["repeats"] + TRIALS) * way.size for way in WAYS)
    assert written <= USUAL["wal_most_written"]


def test_an_ordinary_disk_gets_its_tails() -> None:
    usual = {1: 2e-4, 8: 3e-4, 64: 5e-4, 512: 1.5e-3}
    for way in WAYS:
        flushes = flushes_by(way, usual[way.writes], USUAL) * USUAL["repeats"]
        assert flushes >= USUAL["wal_tail_writes"]


@given(st.lists(st.floats(1e-6, 1), max_size=80))
def test_a_tail_is_the_99th_percentile_of_each_run(seconds: list[float]) -> None:
    found = tails_of(seconds, {"wal_tail_writes": 10, "repeats": 3})
    assert len(found) == min(len(seconds) // 10, 3)
    edges = [len(seconds) * edge // max(1, len(found)) for edge in range(len(found) + 1)]
    runs = [seconds[low:high] for low, high in pairwise(edges)]
    assert all(len(run) >= 10 for run in runs)
    assert found == pytest.approx([float(np.percentile(run, 99)) for run in runs])


def test_one_figure_alone_is_not_called_stable(bench: Bench) -> None:
    found = wal(limited(bench, repeats=1))
    assert all(one.stability != "stable" for one in found if isinstance(one, Measurement))


@pytest.mark.parametrize("call", ["pwrite", "fsync", "fdatasync", "posix_fallocate", "ftruncate"])
def test_ctrl_c_in_the_middle_leaves_nothing_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    done = getattr(os, call)
    calls = iter(range(3))

    def interrupting(*given: Any) -> Any:
        result = done(*given)
        if next(calls, None) is None:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(os, call, interrupting)
    # The ways hold the flushes as they were when they were read.
    monkeypatch.setattr("engram_diagnose.kernels.measure.wal.WAYS", _with(call, interrupting))
    with pytest.raises(KeyboardInterrupt):
        wal(bench)
    assert os.listdir(bench.folder) == []


def _with(call: str, flush: Any) -> tuple[Any, ...]:
    return tuple(
        replace(way, flush=flush) if way.flush is not None and way.flush.__name__ == call else way for way in WAYS
    )


def test_the_probe_ends_where_it_is_told_to(bench: Bench) -> None:
    class EndedError(Exception):
        pass

    chances = iter(range(9))

    def end() -> None:
        if next(chances, None) is None:
            raise EndedError

    with pytest.raises(EndedError):
        wal(replace(bench, check=end))
    assert os.listdir(bench.folder) == []
