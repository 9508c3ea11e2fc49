"""The tiers' files: what they take, what is kept of them, and what a damaged one does."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engram_diagnose.lab.loops import layout
from engram_diagnose.lab.loops import tiers as loops
from engram_diagnose.lab.loops.layout import DIMENSIONS, Tiers
from engram_diagnose.lab.tiers import (
    Thresholds,
    capacity,
    close,
    counted,
    load,
    memories,
    new_tiers,
    populate,
    save,
)

ROWS = 1200


def fresh(folder: Path, *, hot_mb: float = 1, warm_mb: float = 2, rows: int = ROWS) -> Tiers:
    return new_tiers(folder, rows=rows, hot_mb=hot_mb, shards=4, warm_mb=warm_mb, workers=2)


def vectors(seed: int = 1) -> "np.typing.NDArray[np.float32]":
    return np.random.default_rng(seed).standard_normal((ROWS, DIMENSIONS)).astype(np.float32)


def found(tiers: Tiers) -> "tuple[np.typing.NDArray[np.int8], np.typing.NDArray[np.float32]]":
    kept = np.zeros((ROWS, DIMENSIONS), np.float32)
    where = np.zeros(ROWS, np.int8)
    loops.peek_many(tiers, np.arange(ROWS), where, kept)
    return where, kept


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Tiers]:
    """1,000 memories in all three tiers."""
    tiers = fresh(tmp_path / "filled")
    for row, vector in enumerate(vectors()[:1000]):
        assert loops.admit(tiers, row, vector) == 0
    assert all(memories(tiers))
    yield tiers
    close(tiers)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_tiers_have_room_for_what_their_sizes_say(tmp_path: Path) -> None:
    tiers = fresh(tmp_path)
    hot, warm, cold = capacity(tiers)
    assert (hot, warm) == (4 * (1024 * 1024 // 3200 // 4), 2 * 1024 * 1024 // 3200)
    assert cold >= ROWS
    assert memories(tiers) == (0, 0, 0)
    close(tiers)
    close(tiers)


def test_files_take_no_room_before_something_is_stored(tmp_path: Path) -> None:
    tiers = fresh(tmp_path, warm_mb=1000, rows=500_000)
    assert sum(path.stat().st_blocks for path in tmp_path.iterdir()) == 0
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) > 1_000_000_000
    close(tiers)


def test_sizes_that_are_too_small_are_refused(tmp_path: Path) -> None:
    for wrong in ({"rows": 0}, {"hot_mb": 0}, {"warm_mb": -1}):
        with pytest.raises(ValueError, match="tiers of"):
            fresh(tmp_path, **wrong)  # type: ignore[arg-type]


def test_a_shard_has_one_slot_at_least(tmp_path: Path) -> None:
    tiers = new_tiers(tmp_path, rows=10, hot_mb=0.0001, shards=3, warm_mb=1, workers=1)
    for row in range(10):
        assert loops.admit(tiers, row, vectors()[row]) == 0
    assert capacity(tiers)[0] == 3
    assert sum(memories(tiers)) == 10
    close(tiers)


def test_memories_of_a_range_of_rows_are_counted(filled: Tiers) -> None:
    low, high = memories(filled, high=500), memories(filled, low=500)
    assert tuple(map(sum, zip(low, high, strict=True))) == memories(filled)
    assert memories(filled, low=1000) == (0, 0, 0)
    assert sum(low) == 500


def test_what_is_saved_is_loaded_into_the_same_tiers(filled: Tiers, tmp_path: Path) -> None:
    filled.touches[:1000] = np.arange(1000)
    assert save(filled, tmp_path / "kept") == 1000
    again = fresh(tmp_path / "again")
    assert load(again, tmp_path / "kept") == 1000
    assert memories(again) == memories(filled)
    before, after = found(filled), found(again)
    assert np.array_equal(before[0], after[0])
    exact = before[0] != layout.COLD
    assert np.array_equal(before[1][exact], after[1][exact])
    assert np.allclose(before[1], after[1], rtol=1e-5, atol=1e-6)
    assert np.array_equal(filled.touches, again.touches)
    assert save(again, tmp_path / "again" / "kept") == 1000
    close(again)


@pytest.mark.parametrize(("hot_mb", "warm_mb"), [(0.1, 2), (1, 0.1), (0.1, 0), (8, 8)])
def test_what_was_saved_is_loaded_into_tiers_of_other_sizes(
    filled: Tiers, tmp_path: Path, hot_mb: float, warm_mb: float
) -> None:
    save(filled, tmp_path / "kept")
    again = fresh(tmp_path / "again", hot_mb=hot_mb, warm_mb=warm_mb)
    assert load(again, tmp_path / "kept") == 1000
    assert sum(memories(again)) == 1000
    assert np.abs(found(again)[1] - found(filled)[1]).max() < 0.05
    close(again)


def test_a_snapshot_that_is_damaged_anywhere_is_refused_by_name(filled: Tiers, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    save(filled, kept)
    whole = kept.read_bytes()
    for length in (0, 5, 16, 20, 5000, len(whole) - 4):
        kept.write_bytes(whole[:length])
        again = fresh(tmp_path / "again")
        with pytest.raises(ValueError, match=r"kept: .*; remove it, and start again"):
            load(again, kept)
        close(again)
    for place in (3, 17, 30, 3000, len(whole) // 2):
        kept.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        again = fresh(tmp_path / "again")
        with pytest.raises(ValueError, match=r"kept: .*; remove it, and start again"):
            load(again, kept)
        close(again)


def test_a_snapshot_of_more_rows_than_there_are_is_refused(filled: Tiers, tmp_path: Path) -> None:
    save(filled, tmp_path / "kept")
    again = fresh(tmp_path / "again", rows=100)
    with pytest.raises(ValueError, match="no rows for"):
        load(again, tmp_path / "kept")
    close(again)


def test_a_snapshot_that_cannot_be_written_leaves_the_one_before(filled: Tiers, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    save(filled, kept)
    before = kept.read_bytes()
    (tmp_path / "kept.new").mkdir()
    with pytest.raises(OSError, match=r"kept\.new"):
        save(filled, kept)
    assert kept.read_bytes() == before


def test_on_a_full_disk_a_store_is_refused_and_nothing_that_was_stored_is_lost(small_disk: Path) -> None:
    tiers = new_tiers(small_disk, rows=10_000, hot_mb=0.5, shards=2, warm_mb=20, workers=1)
    (small_disk / "other").write_bytes(bytes(2 << 20))
    vector = vectors()[0]
    refused = {row for row in range(8000) if loops.admit(tiers, row, vector * row)}
    assert 0 < len(refused) < 8000
    assert sum(memories(tiers)) == 8000 - len(refused)
    out = np.zeros(DIMENSIONS, np.float32)
    for row in range(8000):
        assert (loops.peek(tiers, row, out) == layout.UNKNOWN) == (row in refused)
        assert row in refused or np.array_equal(out, vector * row)
    (small_disk / "other").unlink()
    time.sleep(0.2)  # a disk that was full is not asked each time
    assert loops.admit(tiers, min(refused), vector) == 0
    close(tiers)


def test_pages_in_use_are_mapped_at_once_when_asked_for(filled: Tiers) -> None:
    assert populate(filled) in (True, False)
    assert sum(memories(filled)) == 1000


def test_huge_pages_are_asked_for_where_there_are_any(tmp_path: Path) -> None:
    tiers = new_tiers(tmp_path, rows=10, hot_mb=4, shards=1, warm_mb=4, workers=1, huge_pages=True)
    assert loops.admit(tiers, 1, vectors()[1]) == 0
    close(tiers)


def test_thresholds_below_one_an_hour_are_so_many_hours(tmp_path: Path) -> None:
    for kept_warm, hours, accesses in ((1 / 24, 24, 1), (2, 1, 2), (0, 256, 0), (0.5, 2, 1)):
        tiers = new_tiers(
            tmp_path, rows=1, hot_mb=1, shards=1, warm_mb=1, workers=1, thresholds=Thresholds(kept_warm=kept_warm)
        )
        assert (tiers.limits[layout.IDLE_HOURS], tiers.limits[layout.KEPT_WARM]) == (hours, accesses)
        close(tiers)


def test_what_was_counted_is_by_tier(filled: Tiers) -> None:
    counts = counted(filled)
    assert counts.visits == 0
    assert counts.evictions[0] > 0  # by those who store, too
    assert len(counts.buckets) == 3
    assert {len(buckets) for buckets in counts.buckets} == {layout.BUCKET_COUNT}
