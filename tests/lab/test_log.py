"""The log after whatever ended the process: what was answered is there, and no bytes of a file are too strange."""

import mmap
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.lab.log import (
    Record,
    close,
    discard,
    disk_bytes,
    open_log,
    parse_record,
    record_size,
    records,
    segments,
)
from engram_diagnose.lab.loops import log as loops

THREADS = 4
MOST = 200_000
"""Appends of a thread, as far as they are noted."""

APPENDER = f"""
import mmap, sys, threading
from pathlib import Path
import numpy as np
from engram_diagnose.kernels.loops.atomics import nanoseconds
from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.lab.log import open_log
from engram_diagnose.lab.loops import log as loops

@loop
def run(log, answered, who, most):
    payload = np.zeros(600, np.uint8)
    for number in range(most):
        payload[0] = who
        for byte in range(3):
            payload[1 + byte] = number >> (8 * byte) & 0xFF
        size = 4 + number * 31 % 596
        sequence = loops.append(log, payload, size)
        if sequence < 0 or loops.settle(log, sequence) < 0:
            return
        answered[who * most + number] = nanoseconds()

folder, notes, mode, interval = sys.argv[1:]
log = open_log(
    Path(folder), is_immediate=mode == "immediate", buffer_mb=1, flush_interval_ms=float(interval), segment_mb=0.2
)
with open(notes, "r+b") as file:
    answered = np.frombuffer(mmap.mmap(file.fileno(), 0), np.int64)
threads = [threading.Thread(target=loops.flusher, args=(log,))]
threads += [threading.Thread(target=run, args=(log, answered, who, {MOST})) for who in range({THREADS})]
for thread in threads:
    thread.start()
"""


def bytes_of(record: Record) -> bytes:
    """A record as the log writes it."""
    rest = len(record.payload).to_bytes(4, "little") + record.sequence.to_bytes(8, "little")
    crc = zlib.crc32(rest, zlib.crc32(record.payload))
    padding = bytes(record_size(len(record.payload)) - loops.RECORD_HEADER - len(record.payload))
    return crc.to_bytes(4, "little") + rest + record.payload + padding


def segment_of(*payloads: bytes, first: int = 1) -> bytes:
    header = loops.HEADER.ljust(loops.SEGMENT_HEADER, b"\0")
    return header + b"".join(bytes_of(Record(first + at, payload)) for at, payload in enumerate(payloads))


def killed(folder: Path, *, mode: str, interval_ms: float, after_seconds: float) -> tuple[Any, int]:
    """When each append of each thread was answered (0: it was not), and when the process was killed."""
    notes = folder / "notes"
    notes.write_bytes(bytes(8 * THREADS * MOST))
    (folder / "appender.py").write_text(APPENDER)
    process = subprocess.Popen(
        [sys.executable, folder / "appender.py", folder / "log", notes, mode, str(interval_ms)],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    with notes.open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        begun = time.monotonic()
        while not any(pages[:8]) and process.poll() is None and time.monotonic() - begun < 120:
            time.sleep(0.01)
        time.sleep(after_seconds)
        at = time.monotonic_ns()
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        return np.frombuffer(pages[:], np.int64).reshape(THREADS, MOST), at


def numbers_by_thread(reading: Any) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {who: [] for who in range(THREADS)}
    for record in reading:
        number = int.from_bytes(record.payload[1:4], "little")
        assert len(record.payload) == 4 + number * 31 % 596
        found[record.payload[0]].append(number)
    return found


@pytest.mark.parametrize("after_seconds", [0.0, 0.05, 0.3])
def test_a_kill_in_immediate_mode_loses_nothing_that_was_answered(tmp_path: Path, after_seconds: float) -> None:
    answered, _ = killed(tmp_path, mode="immediate", interval_ms=5, after_seconds=after_seconds)
    found = numbers_by_thread(records(tmp_path / "log"))
    assert answered.any()
    for who in range(THREADS):
        count = int(np.count_nonzero(answered[who]))
        assert found[who][:count] == list(range(count))
        assert len(found[who]) <= count + 1  # the one that was on its way


@pytest.mark.parametrize("after_seconds", [0.05, 0.3])
def test_a_kill_in_batch_mode_loses_no_more_than_a_flush_interval(tmp_path: Path, after_seconds: float) -> None:
    interval_ms = 20
    answered, at = killed(tmp_path, mode="batch", interval_ms=interval_ms, after_seconds=after_seconds)
    found = numbers_by_thread(records(tmp_path / "log"))
    for who in range(THREADS):
        count = len(found[who])
        assert found[who] == list(range(count))  # nothing is missing in the middle
        lost = answered[who][count:]
        lost = lost[lost > 0]
        # A flush that had begun is not over: how long it takes is the disk's affair, and the machine's.
        assert not len(lost) or at - lost.min() < interval_ms * 1e6 + 1e9


def test_a_log_that_was_killed_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    killed(tmp_path, mode="immediate", interval_ms=5, after_seconds=0.05)
    reading = records(tmp_path / "log")
    before = list(reading)
    log = open_log(
        tmp_path / "log",
        is_immediate=True,
        buffer_mb=1,
        flush_interval_ms=5,
        segment_mb=1,
        next_sequence=reading.last_sequence + 1,
    )
    assert loops.append(log, np.arange(10, dtype=np.uint8), 10) == len(before) + 1
    loops.stop(log)
    assert loops.flusher(log) == 0
    close(log)
    again = list(records(tmp_path / "log"))
    assert again[:-1] == before
    assert again[-1] == Record(len(before) + 1, bytes(range(10)))


def test_a_folder_without_a_log_has_no_records(tmp_path: Path) -> None:
    reading = records(tmp_path / "missing")
    assert list(reading) == []
    assert (reading.stops, reading.last_sequence) == ([], 0)


def test_a_segment_cut_off_anywhere_gives_the_records_before_the_cut(tmp_path: Path) -> None:
    payloads = [b"first", b"", b"a longer one" * 5]
    whole = segment_of(*payloads)
    ends = [len(segment_of(*payloads[:count])) for count in range(len(payloads) + 1)]
    # A record whose zeros at the end are missing is whole.
    least = [ends[0]] + [end - (-len(payload) % 8) for end, payload in zip(ends[1:], payloads, strict=True)]
    for length in range(len(whole) + 1):
        (tmp_path / "wal-00000001.log").write_bytes(whole[:length])
        reading = records(tmp_path)
        found = [record.payload for record in reading]
        intact = sum(end <= length for end in least[1:])
        assert found == payloads[:intact]
        if length >= ends[0]:
            assert bool(reading.stops) == (not least[intact] <= length <= ends[intact])


def test_zeros_after_the_last_record_are_the_end_of_a_segment(tmp_path: Path) -> None:
    for zeros in (1, 8, 16, 5000):
        (tmp_path / "wal-00000001.log").write_bytes(segment_of(b"one", b"two") + bytes(zeros))
        reading = records(tmp_path)
        assert [record.payload for record in reading] == [b"one", b"two"]
        assert reading.stops == []


def test_damage_in_a_segment_is_named_and_the_next_segment_is_read(tmp_path: Path) -> None:
    first = bytearray(segment_of(b"one", b"two", b"three"))
    first[len(segment_of(b"one")) + loops.RECORD_HEADER] ^= 1
    (tmp_path / "wal-00000001.log").write_bytes(first)
    (tmp_path / "wal-00000002.log").write_bytes(segment_of(b"four", first=4))
    reading = records(tmp_path)
    assert [record.payload for record in reading] == [b"one", b"four"]
    assert [str(stop) for stop in reading.stops] == ["wal-00000001.log, byte 88: the check sum of a record is wrong"]


def test_a_record_that_was_read_before_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "wal-00000001.log").write_bytes(segment_of(b"one", b"two"))
    (tmp_path / "wal-00000002.log").write_bytes(segment_of(b"two", first=2))
    reading = records(tmp_path)
    assert [record.payload for record in reading] == [b"one", b"two"]
    assert "record 2 comes after 2" in str(reading.stops[0])


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 200))
def test_no_bytes_of_a_segment_raise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, has_header: bool, kept: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    (folder / "wal-00000001.log").write_bytes((segment_of(b"x" * 50)[:kept] if has_header else b"") + data)
    reading = records(folder)
    for record in reading:
        assert bytes_of(record)[4:].startswith(len(record.payload).to_bytes(4, "little"))


@given(st.binary(max_size=100), st.integers(1, 1 << 60))
def test_a_record_is_parsed_as_it_was_written(payload: bytes, sequence: int) -> None:
    assert parse_record(bytes_of(Record(sequence, payload)), 0) == Record(sequence, payload)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("wal-x.log", "other", "wal-00000003.log.old"):
        (tmp_path / name).write_text("something")
    (tmp_path / "wal-00000002.log").write_text("no segment at all")
    reading = records(tmp_path)
    assert list(reading) == []
    assert [str(stop) for stop in reading.stops] == ["wal-00000002.log, byte 0: this is no segment of a log"]
    assert discard(tmp_path) == 1
    assert len(list(tmp_path.iterdir())) == 3


def test_segments_are_discarded_below_a_number(tmp_path: Path) -> None:
    for number in range(1, 5):
        (tmp_path / f"wal-{number:08}.log").write_bytes(segment_of(b"x", first=number))
    size = disk_bytes(tmp_path)
    assert discard(tmp_path, below=3) == 2
    assert [path.name for path in segments(tmp_path)] == ["wal-00000003.log", "wal-00000004.log"]
    assert disk_bytes(tmp_path) == size // 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to_is_an_error_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        open_log(tmp_path, is_immediate=False, buffer_mb=1, flush_interval_ms=1, segment_mb=1)


def test_a_log_whose_next_segment_is_something_else_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "wal-00000001.log").mkdir()
    (tmp_path / "wal-00000002.log").mkdir()
    reading = records(tmp_path)
    assert list(reading) == []
    assert [stop.why for stop in reading.stops] == ["not readable: Is a directory"] * 2
