"""What loops ask of the kernel, against the same asked by Python."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engram_diagnose.kernels.loops.compiled import loop
from engram_diagnose.lab.loops import native

SECOND_NS = 1_000_000_000


@loop
def wait(words: Any, index: Any, expected: Any, timeout_ns: Any) -> Any:
    return native.futex_wait(words, index, expected, timeout_ns)


@loop
def wake(words: Any, index: Any, count: Any) -> Any:
    return native.futex_wake(words, index, count)


@loop
def write(file: Any, data: Any, offset: Any, count: Any, position: Any) -> Any:
    return native.write_at(file, data, offset, count, position)


@loop
def read(file: Any, data: Any, offset: Any, count: Any, position: Any) -> Any:
    return native.read_at(file, data, offset, count, position)


@loop
def of_a_file(file: Any) -> Any:
    return native.flush(file), native.flush_folder(file), native.reserve(file, 4096, 8192), native.signal(file)


@loop
def made(folder: Any, name: Any) -> Any:
    file = native.open_at(folder, name, native.CREATE)
    return file, native.close_file(file), native.close_file(file)


@loop
def sleep(duration_ns: Any) -> Any:
    return native.sleep_for(duration_ns)


@loop
def call_it(name: Any) -> Any:
    return native.set_thread_name(name)


@loop
def copy(to: Any, to_index: Any, source: Any, index: Any, count: Any) -> None:
    native.copy_items(to, to_index, source, index, count)


def name_of(text: str) -> Any:
    return np.frombuffer(bytearray(text.encode() + b"\0"), np.uint8)


def test_who_waits_at_a_word_sleeps_until_it_is_woken() -> None:
    words = np.zeros(8, np.int32)
    wait(words, 0, 1, 0)
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(wait(words, 3, 0, 60 * SECOND_NS)))
    thread.start()
    begun = time.monotonic()
    while not wake(words, 3, 1) and time.monotonic() - begun < 30:  # until it sleeps, there is nobody to be woken
        time.sleep(0.001)
    thread.join(30)
    assert ended == [0]
    assert wake(words, 3, 1) == 0


def test_a_wait_ends_with_its_time_and_at_once_where_the_word_is_another() -> None:
    words = np.array([7], np.int32)
    assert wait(words, 0, 7, 1000) == -errno.ETIMEDOUT
    assert wait(words, 0, 7, -5) == -errno.ETIMEDOUT
    assert wait(words, 0, 8, 60 * SECOND_NS) == -errno.EAGAIN


def test_what_is_written_at_a_position_is_read_there(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        data = np.arange(100, dtype=np.uint8)
        assert write(file.fileno(), data, 10, 20, 1000) == 20
        assert file.read() == bytes(1000) + bytes(range(10, 30))
        back = np.zeros(30, np.uint8)
        assert read(file.fileno(), back, 5, 25, 1000) == 20
        assert bytes(back) == bytes(5) + bytes(range(10, 30)) + bytes(5)


def test_what_fails_gives_minus_errno(tmp_path: Path) -> None:
    nothing = np.zeros(8, np.uint8)
    assert write(9999, nothing, 0, 1, 0) == -errno.EBADF
    assert read(9999, nothing, 0, 1, 0) == -errno.EBADF
    assert of_a_file(9999) == (-errno.EBADF,) * 4
    assert made(9999, name_of("file"))[0] == -errno.EBADF
    with (tmp_path / "file").open("w+b") as file:
        assert write(file.fileno(), nothing, 0, 1, -1) == -errno.EINVAL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_a_full_disk_is_told_from_others() -> None:
    with open("/dev/full", "wb") as file:
        assert write(file.fileno(), np.zeros(8, np.uint8), 0, 8, 0) == -native.ENOSPC


def test_a_file_is_flushed_and_gets_its_room(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        assert of_a_file(file.fileno()) == (0, 0, 0, 8)
        assert (tmp_path / "file").stat().st_size == 4096 + 8192
        assert (tmp_path / "file").stat().st_blocks >= 16


def test_a_file_is_made_for_this_user_alone(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("what was there before")
    folder = os.open(tmp_path, os.O_RDONLY)
    file, closed, again = made(folder, name_of("new"))
    assert file > 2
    assert (closed, again) == (0, -errno.EBADF)
    assert (tmp_path / "new").read_bytes() == b""
    assert made(folder, name_of("other"))[0] > 2
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o600
    os.close(folder)


def test_whoever_polls_an_eventfd_sees_its_signals() -> None:
    file = os.eventfd(0)
    assert [of_a_file(file)[3] for _ in range(3)] == [8, 8, 8]
    assert os.eventfd_read(file) == 3
    os.close(file)


def test_a_sleep_takes_its_time() -> None:
    sleep(0)
    begun = time.monotonic()
    assert sleep(20_000_000) == 0
    assert time.monotonic() - begun >= 0.02
    assert sleep(-1) == 0


def test_a_thread_is_called_by_its_name() -> None:
    seen: list[str] = []

    def run() -> None:
        call_it(name_of("engram-recall-0"))
        seen.append(Path("/proc/thread-self/comm").read_text().strip())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == ["engram-recall-0"]
    assert Path("/proc/thread-self/comm").read_text().strip() != "engram-recall-0"


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int64])
def test_items_are_copied_as_a_slice_is(kind: Any) -> None:
    source = np.arange(50).astype(kind)
    to = np.zeros(50, kind)
    copy(to, 3, source, 20, 25)
    wanted = np.zeros(50, kind)
    wanted[3:28] = source[20:45]
    assert to.tolist() == wanted.tolist()
    copy(to, 0, source, 0, 0)
    assert to.tolist() == wanted.tolist()


def test_another_process_takes_the_machine_code_from_the_cache(tmp_path: Path) -> None:
    script = """
import numpy as np
from engram_diagnose.lab.loops import log, tiers, locks, native
from engram_diagnose.lab.log import open_log, close
from engram_diagnose.lab.tiers import new_tiers
from pathlib import Path
import sys
opened = open_log(Path(sys.argv[1]), is_immediate=False, buffer_mb=1, flush_interval_ms=1, segment_mb=1)
log.append(opened, np.zeros(10, np.uint8), 10)
log.stop(opened)
print(log.flusher(opened))
made = new_tiers(Path(sys.argv[1]), rows=10, hot_mb=1, shards=1, warm_mb=1, workers=1)
print(tiers.admit(made, 3, np.ones(768, np.float32)), tiers.peek(made, 3, np.zeros(768, np.float32)))
for each in (log.begin, log.append, log.stop, log.flusher, tiers.admit, tiers.peek):
    hits = sum(each.stats.cache_hits.values())
    print(hits, sum(each.stats.cache_misses.values()))
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / str(number))],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout.splitlines()
        for number in range(2)
    ]
    assert [run[:2] for run in runs] == [["0", "0 0"]] * 2
    assert set(runs[0][2:]) == {"0 1"}
    assert set(runs[1][2:]) == {"1 0"}
