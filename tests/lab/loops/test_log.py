"""The write-ahead log while it is written: what was answered is on the disk, in both modes, whatever the disk does."""

import errno
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.lab import log as lab
from engram_diagnose.lab.loops import log as loops
from engram_diagnose.lab.loops.log import Log

TAG = 4
"""Bytes of a payload that say who appended it, and its number: one and three."""


@loop
def append_many(log: Any, who: Any, count: Any, least: Any, most: Any) -> Any:
    """Append payloads of several sizes, and settle each; how many were stored, and the first error."""
    payload = np.zeros(most, np.uint8)
    stored, error = 0, np.int64(0)
    for number in range(count):
        size = least + number * 97 % (most - least + 1)
        payload[0] = who
        for byte in range(3):
            payload[1 + byte] = number >> (8 * byte) & 0xFF
        payload[TAG:size] = number * 31 & 0xFF
        sequence = loops.append(log, payload, size)
        failed = sequence if sequence < 0 else loops.settle(log, sequence)
        if failed == 0 or failed > 0:
            stored += 1
        elif error == 0:
            error = failed
    return stored, error


@contextmanager
def running(log: Log) -> Iterator[list[int]]:
    """A log whose flusher runs; what it gave is in the list afterwards."""
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(int(loops.flusher(log))))
    thread.start()
    try:
        yield ended
    finally:
        loops.stop(log)
        thread.join(60)
        lab.close(log)


def opened(folder: Path, **asked: Any) -> Log:
    given = {"is_immediate": False, "buffer_mb": 1, "flush_interval_ms": 5, "segment_mb": 64, **asked}
    return lab.open_log(folder, **given)


def run_together(*calls: Callable[[], Any]) -> list[Any]:
    found: list[Any] = [None] * len(calls)

    def run(at: int) -> None:
        found[at] = calls[at]()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def tags(records: list[lab.Record]) -> list[tuple[int, int]]:
    return [(record.payload[0], int.from_bytes(record.payload[1:TAG], "little")) for record in records]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@given(st.binary(max_size=3000))
def test_the_check_sum_is_zlibs(data: bytes) -> None:
    payload = np.frombuffer(data + b"x", np.uint8)
    assert loops._crc(lab._crc_tables(), payload, len(data)) == zlib.crc32(data)


@pytest.mark.parametrize("is_immediate", [False, True])
@pytest.mark.parametrize(("buffer_mb", "segment_mb"), [(1, 64), (0.001, 0.05), (0.05, 0.004)])
def test_what_several_threads_append_is_read_again_once_and_in_their_order(
    tmp_path: Path, is_immediate: bool, buffer_mb: float, segment_mb: float
) -> None:
    log = opened(tmp_path, is_immediate=is_immediate, buffer_mb=buffer_mb, segment_mb=segment_mb)
    count = 100 if is_immediate else 500
    with running(log) as ended:
        found = run_together(*[lambda who=who: append_many(log, who, count, TAG, 6000) for who in range(4)])
    assert found == [(count, 0)] * 4
    assert ended == [0]
    reading = lab.records(tmp_path)
    records = list(reading)
    assert reading.stops == []
    assert [record.sequence for record in records] == list(range(1, 4 * count + 1))
    for who in range(4):
        assert [number for by, number in tags(records) if by == who] == list(range(count))
    for record in records:
        number = int.from_bytes(record.payload[1:TAG], "little")
        assert len(record.payload) == TAG + number * 97 % (6000 - TAG + 1)
        assert set(record.payload[TAG:]) <= {number * 31 & 0xFF}
    counted = lab.figures(log)
    assert counted.pending == 0
    assert counted.appended == 4 * count
    assert sum(counted.buckets) == counted.flushes
    assert counted.segments == len(lab.segments(tmp_path))
    assert all(path.stat().st_size <= max(8192, segment_mb * 2**20 + 4096) for path in lab.segments(tmp_path))


def test_immediate_mode_writes_whole_blocks_and_flushes_each_record(tmp_path: Path) -> None:
    log = opened(tmp_path, is_immediate=True)
    with running(log):
        assert append_many(log, 0, 50, 100, 100) == (50, 0)
        counted = lab.figures(log)
    assert counted.flushes == 50
    assert (counted.bytes_written - loops.SEGMENT_HEADER) % loops.BLOCK == 0
    assert counted.bytes_written > 20 * 50 * 100
    assert lab.disk_bytes(tmp_path) == 2 * loops.BLOCK


def test_batch_mode_answers_before_it_flushes_and_flushes_many_at_once(tmp_path: Path) -> None:
    log = opened(tmp_path, flush_interval_ms=60_000)
    with running(log):
        assert append_many(log, 0, 50, 100, 100) == (50, 0)
        assert lab.figures(log).pending == 50
        assert lab.figures(log).flushes == 0
    assert lab.figures(log).flushes == 1
    assert len(list(lab.records(tmp_path))) == 50


def test_in_batch_mode_too_one_may_wait_for_the_disk(tmp_path: Path) -> None:
    log = opened(tmp_path, flush_interval_ms=20)
    with running(log):
        sequence = loops.append(log, np.zeros(10, np.uint8), 10)
        assert loops.wait_until_flushed(log, sequence) == 0
        assert len(list(lab.records(tmp_path))) == 1


def test_an_append_waits_while_the_ring_is_full_and_is_flushed_before_the_interval(tmp_path: Path) -> None:
    log = opened(tmp_path, buffer_mb=0.001, flush_interval_ms=60_000)
    with running(log):
        assert append_many(log, 0, 100, 5000, 5000) == (100, 0)
        counted = lab.figures(log)
    assert counted.waited > 10
    assert counted.flushes > 10
    assert len(list(lab.records(tmp_path))) == 100


def test_a_buffer_smaller_than_the_ring_is_full_when_it_holds_so_much(tmp_path: Path) -> None:
    """A KiB has room for four records of 200 bytes with their headers, so each fifth waits for a flush."""
    log = opened(tmp_path, buffer_mb=1 / 1024, flush_interval_ms=60_000)
    with running(log):
        assert append_many(log, 0, 100, 200, 200) == (100, 0)
        counted = lab.figures(log)
    assert 20 <= counted.flushes <= 25
    assert counted.waited >= 20
    assert len(list(lab.records(tmp_path))) == 100


def test_what_goes_to_several_segments_is_flushed_at_once(tmp_path: Path) -> None:
    log = opened(tmp_path, buffer_mb=0.1, segment_mb=0.02, flush_interval_ms=600_000)
    with running(log):
        assert append_many(log, 0, 7, 16_000, 16_000) == (7, 0)  # the seventh finds no room
        assert loops.wait_until_flushed(log, 6) == 0
        assert len(lab.segments(tmp_path)) >= 6


def test_a_payload_that_is_too_long_is_refused(tmp_path: Path) -> None:
    log = opened(tmp_path)
    payload = np.zeros(20_000, np.uint8)
    with running(log):
        for count in (loops.MOST_PAYLOAD + 1, -1, 1 << 40):
            assert loops.append(log, payload, count) == -errno.EMSGSIZE
        assert loops.append(log, payload[:10], 11) == -errno.EMSGSIZE
        assert loops.append(log, payload, loops.MOST_PAYLOAD) == 1
        assert loops.append(log, payload, 0) == 2
    assert [len(record.payload) for record in lab.records(tmp_path)] == [loops.MOST_PAYLOAD, 0]


def test_the_thread_of_the_log_is_called_so(tmp_path: Path) -> None:
    log = opened(tmp_path)
    with running(log):
        sequence = loops.append(log, np.zeros(1, np.uint8), 1)
        loops.wait_until_flushed(log, sequence)
        names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert "engram-wal" in names


def test_a_slow_disk_makes_each_flush_longer(tmp_path: Path) -> None:
    log = opened(tmp_path, is_immediate=True, disk_delay_ms=5)
    with running(log):
        append_many(log, 0, 10, 10, 10)
        counted = lab.figures(log)
    assert counted.flush_seconds >= 10 * 0.005
    assert sum(counted.buckets[: counted.bounds_seconds.index(0.005) + 1]) == 0


def test_a_log_that_is_told_to_stop_writes_what_it_has(tmp_path: Path) -> None:
    log = opened(tmp_path, flush_interval_ms=60_000)
    assert append_many(log, 0, 10, 10, 10) == (10, 0)  # before anybody flushes
    with running(log) as ended:
        pass
    assert ended == [0]
    assert len(list(lab.records(tmp_path))) == 10


def test_on_a_full_disk_an_immediate_store_is_refused_and_the_next_one_with_room_is_not(small_disk: Path) -> None:
    log = opened(small_disk, is_immediate=True, segment_mb=0.5)
    with running(log):
        (small_disk / "other").write_bytes(bytes(3 << 20))
        stored, error = append_many(log, 0, 400, 4000, 4000)
        assert error == -errno.ENOSPC
        assert 0 < stored < 400
        assert lab.figures(log).error == errno.ENOSPC
        assert lab.figures(log).failed_flushes == 400 - stored
        (small_disk / "other").unlink()
        assert run_together(*[lambda who=who: append_many(log, who, 20, 4000, 4000) for who in (1, 2)]) == [(20, 0)] * 2
        assert lab.figures(log).error == 0
    reading = lab.records(small_disk)
    found = tags(list(reading))
    assert reading.stops == []
    assert [number for who, number in found if who == 0][:stored] == list(range(stored))
    assert sum(who in (1, 2) for who, _ in found) == 40


def test_on_a_full_disk_a_batched_log_keeps_what_it_answered_and_refuses_more_until_there_is_room(
    small_disk: Path,
) -> None:
    log = opened(small_disk, segment_mb=0.5, flush_interval_ms=1)
    with running(log):
        (small_disk / "other").write_bytes(bytes(3 << 20))
        stored, error = 0, 0
        while not error:
            stored += loops.append(log, np.full(4000, stored & 0xFF, np.uint8), 4000) > 0
            time.sleep(0.0005)
            error = lab.figures(log).error
        assert error == errno.ENOSPC
        assert loops.append(log, np.zeros(10, np.uint8), 10) == -errno.ENOSPC
        assert lab.figures(log).refused == 1
        (small_disk / "other").unlink()
        begun = time.monotonic()
        while lab.figures(log).pending and time.monotonic() - begun < 30:
            time.sleep(0.01)
        assert loops.append(log, np.zeros(10, np.uint8), 10) == stored + 1
    reading = lab.records(small_disk)
    records = list(reading)
    assert reading.stops == []
    assert [record.sequence for record in records] == list(range(1, stored + 2))
    assert [record.payload[0] for record in records[:-1]] == [number & 0xFF for number in range(stored)]


def test_a_log_that_cannot_write_its_rest_ends_and_says_so(small_disk: Path) -> None:
    log = opened(small_disk, flush_interval_ms=60_000)
    (small_disk / "other").write_bytes(bytes(3 << 20))
    stored, _ = append_many(log, 0, 60, 16_000, 16_000)
    assert stored == 60
    (small_disk / "more").write_bytes(bytes(900 << 10))
    with running(log) as ended:
        pass
    assert ended == [-errno.ENOSPC]
    assert lab.figures(log).pending == 60
