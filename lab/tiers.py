"""
The tiers' arrays and files: made, looked at, closed.
"""

import errno
import math
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engram_diagnose.lab.loops import layout
from engram_diagnose.lab.loops import tiers as loops
from engram_diagnose.lab.loops.layout import Tiers
from engram_diagnose.lab.loops.locks import new_words

_MEBIBYTE: Final = 1 << 20
_APART: Final = 32
"""Words of 4 bytes from one worker's activation counter to the next: 128 bytes."""
_MAP_NORESERVE: Final = 0x4000
_POPULATE_WRITE: Final = 23
"""Linux's advice to map pages for writing."""
_MAGIC: Final = b"ENGRLAB tiers 1\n"
_PREFIX: Final = struct.Struct("<II")
"""Before each part of a snapshot: how many memories it has, and its CRC-32."""
_CHUNK: Final = 4096
_MEMORY_BYTES: Final = 4 + 2 + 1 + layout.DIMENSIONS * 4
"""A row, its touches, its tier, its embedding."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """
    Accesses an hour: above which a memory is moved up, and below which it is moved down.

    With 0, a memory that is read moves up at once. Less than one an hour is one in as many hours as that takes.
    """

    to_hot: float = 0
    to_warm: float = 0
    kept_hot: float = 10
    kept_warm: float = 1 / 24


@dataclass(frozen=True, slots=True)
class Counted:
    """What the workers counted together, since the start; by tier (hot, warm, cold) where there are three."""

    visits: int
    hits: tuple[int, int, int]
    unknown: int
    sleeps: int
    evictions: tuple[int, int, int]
    migrations: tuple[int, int, int]
    sampled_seconds: tuple[float, float, float]
    buckets: tuple[tuple[int, ...], ...]
    activations: float


def new_tiers(
    folder: Path,
    *,
    rows: int,
    hot_mb: float,
    shards: int,
    warm_mb: float,
    workers: int,
    thresholds: Thresholds = Thresholds(),
    huge_pages: bool = False,
    false_sharing: bool = False,
) -> Tiers:
    """
    Empty tiers for so many rows, whose files are in `folder`; those of before are gone.

    `workers` is how many threads visit, each with a number of its own. Memory and disk are taken as they are written.
    Raises `OSError` where the files cannot be made, `ValueError` for numbers that are too small.
    """
    if rows < 1 or shards < 1 or workers < 1 or hot_mb <= 0 or warm_mb < 0:
        raise ValueError(f"tiers of {rows} rows, {shards} shards, {workers} workers, {hot_mb} and {warm_mb} MiB")
    slots = max(1, int(hot_mb * _MEBIBYTE / layout.NODE_BYTES / shards))
    slots = min(slots, rows)
    warm_slots = min(rows, int(warm_mb * _MEBIBYTE / layout.NODE_BYTES))
    blocks = -(-rows // layout.BLOCK)
    folder.mkdir(parents=True, exist_ok=True)
    warm_file, warm = _file(folder / "warm", max(1, warm_slots) * layout.NODE_BYTES)
    cold_file, cold = _file(folder / "cold", blocks * layout.BLOCK_BYTES)
    if huge_pages:
        _ask_for_huge_pages(warm)
    places = 1 << (2 * slots - 1).bit_length()
    limits = np.zeros(layout.LIMITS, np.int64)
    for place, value in (
        (layout.SHARDS, shards),
        (layout.SLOTS, slots),
        (layout.TABLE, places),
        (layout.ROWS, rows),
        (layout.WARM_SLOTS, warm_slots),
        (layout.COLD_SLOTS, blocks * layout.BLOCK),
        (layout.WORKERS, workers),
        (layout.ACTIVATION_STRIDE, 1 if false_sharing else _APART),
        (layout.WARM_FILE, warm_file),
        (layout.COLD_FILE, cold_file),
        (layout.TO_HOT, math.floor(thresholds.to_hot)),
        (layout.TO_WARM, math.floor(thresholds.to_warm)),
        (layout.KEPT_HOT, math.ceil(thresholds.kept_hot)),
        (layout.KEPT_WARM, math.ceil(thresholds.kept_warm)),
        (layout.IDLE_HOURS, _hours(thresholds.kept_warm)),
    ):
        limits[place] = value
    return Tiers(
        locks=new_words(shards + 2),
        table=np.zeros(shards * places, np.int32),
        slot_rows=np.full(shards * slots, -1, np.int32),
        referenced=np.zeros(shards * slots, np.uint8),
        dirty=np.zeros(shards * slots, np.uint8),
        hands=np.zeros(shards * 8, np.int64),
        hot=_memory(shards * slots * layout.NODE_BYTES, huge_pages=huge_pages),
        warm=np.frombuffer(warm, np.float32),
        cold=np.frombuffer(cold, np.int8),
        scales=np.frombuffer(cold, np.float32),
        homes=np.full(rows, layout.NOWHERE, np.int32),
        states=np.zeros(rows, np.uint8),
        touches=np.zeros(rows, np.uint16),
        idle=np.zeros(rows, np.uint8),
        seen=np.zeros(rows, np.uint16),
        warm_rows=np.full(max(1, warm_slots), -1, np.int32),
        free_warm=np.zeros(max(1, warm_slots), np.int32),
        free_cold=np.zeros(blocks * layout.BLOCK, np.int32),
        levels=np.zeros(layout.LEVEL_WORDS, np.int64),
        limits=limits,
        activations=np.zeros((workers + 1) * _APART, np.int32)[_APART // 2 :],
        figures=np.zeros((workers + 1) * layout.FIGURES, np.int64),
        bounds=np.array(layout.BOUNDS_NS, np.int64),
    )


def close(tiers: Tiers) -> None:
    """Close the files; no thread may visit any more."""
    for place in (layout.WARM_FILE, layout.COLD_FILE):
        if tiers.limits[place] >= 0:
            os.close(int(tiers.limits[place]))
            tiers.limits[place] = -1


def memories(tiers: Tiers, *, low: int = 0, high: int | None = None) -> tuple[int, int, int]:
    """How many memories of rows `low` to `high` are hot, warm and cold."""
    states = tiers.states[low:high]
    hot, warm, cold = (int(np.count_nonzero(states == 1 + tier)) for tier in range(layout.TIERS))
    return hot, warm, cold


def capacity(tiers: Tiers) -> tuple[int, int, int]:
    """How many memories each tier has room for."""
    limits = tiers.limits
    return (
        int(limits[layout.SHARDS] * limits[layout.SLOTS]),
        int(limits[layout.WARM_SLOTS]),
        int(limits[layout.COLD_SLOTS]),
    )


def counted(tiers: Tiers) -> Counted:
    """What the workers counted, while they go on."""
    sums = tiers.figures.reshape(-1, layout.FIGURES).sum(axis=0)
    count = layout.BUCKET_COUNT
    stride, workers = int(tiers.limits[layout.ACTIVATION_STRIDE]), int(tiers.limits[layout.WORKERS])
    return Counted(
        visits=int(sums[layout.VISITS]),
        hits=_three(sums, layout.HITS),
        unknown=int(sums[layout.UNKNOWNS]),
        sleeps=int(sums[layout.SLEEPS]),
        evictions=_three(sums, layout.EVICTIONS),
        migrations=_three(sums, layout.MIGRATIONS),
        sampled_seconds=tuple(value / 1e9 for value in _three(sums, layout.SAMPLED_NS)),  # type: ignore[arg-type]
        buckets=tuple(
            tuple(int(value) for value in sums[layout.BUCKETS + tier * count : layout.BUCKETS + (tier + 1) * count])
            for tier in range(layout.TIERS)
        ),
        activations=float(tiers.activations[: workers * stride : stride].view(np.float32).sum(dtype=np.float64)),
    )


# --- kept from one start to the next ------------------------------------------------------------------------------


def save(tiers: Tiers, path: Path) -> int:
    """
    Write all memories' embeddings to a file, as a whole or not at all; how many there were.

    Nothing may be stored meanwhile. Raises `OSError` where it cannot be written; what was there before is then kept.
    """
    rows = np.flatnonzero(tiers.states).astype(np.int32)
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(_MAGIC)
            for first in range(0, len(rows), _CHUNK):
                file.writelines(_packed(tiers, rows[first : first + _CHUNK]))
            file.write(_PREFIX.pack(0, 0))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _flush_folder(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return len(rows)


def load(tiers: Tiers, path: Path) -> int:
    """
    Fill empty tiers with what `save` wrote, each memory where it was as far as there is room; how many there were.

    Raises `ValueError` for a file that is no such, cut off or damaged, and `OSError`; the tiers are then half full, and
    of no use.
    """
    count = 0
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path}: this is no snapshot of the lab's tiers; remove it, and start again")
        while True:
            prefix = file.read(_PREFIX.size)
            length, checked = _PREFIX.unpack(prefix) if len(prefix) == _PREFIX.size else (_CHUNK + 1, 0)
            if length == 0:
                return count
            body = file.read(length * _MEMORY_BYTES) if length <= _CHUNK else b""
            if len(body) != length * _MEMORY_BYTES or zlib.crc32(body) != checked:
                raise ValueError(f"{path}: damaged after {count} memories; remove it, and start again")
            _unpack(tiers, body, length, path)
            count += length


def populate(tiers: Tiers) -> bool:
    """Have the pages of the warm file that are in use mapped at once, not when they are met; whether that was done."""
    used = int(tiers.levels[layout.WARM_NEXT]) * layout.NODE_BYTES // mmap.PAGESIZE * mmap.PAGESIZE
    pages = tiers.warm.base
    try:
        if used and isinstance(pages, mmap.mmap):
            pages.madvise(_POPULATE_WRITE, 0, used)
    except OSError:  # a kernel before 5.14
        return False
    return True


def _packed(tiers: Tiers, rows: npt.NDArray[np.int32]) -> tuple[bytes, bytes]:
    found = np.zeros(len(rows), np.int8)
    vectors = np.zeros((len(rows), layout.DIMENSIONS), np.float32)
    loops.peek_many(tiers, rows, found, vectors)
    body = b"".join(part.tobytes() for part in (rows, tiers.touches[rows], found, vectors))
    return _PREFIX.pack(len(rows), zlib.crc32(body)), body


def _unpack(tiers: Tiers, body: bytes, length: int, path: Path) -> None:
    rows = np.frombuffer(body, np.int32, length)
    touches = np.frombuffer(body, np.uint16, length, 4 * length)
    found = np.frombuffer(body, np.int8, length, 6 * length)
    vectors = np.frombuffer(body[7 * length :], np.float32).reshape(length, layout.DIMENSIONS)
    failed = int(loops.put_back_many(tiers, rows, vectors, found, touches))
    if failed == -errno.EINVAL:
        raise ValueError(f"{path}: it has memories that these tiers have no rows for; remove it, and start again")
    if failed:
        raise OSError(-failed, os.strerror(-failed), str(path))


def _flush_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# --- how they are made --------------------------------------------------------------------------------------------


def _hours(accesses_an_hour: float) -> int:
    """After how many hours without enough accesses a memory is moved down."""
    return min(255, max(1, round(1 / accesses_an_hour))) if accesses_an_hour > 0 else 256


def _three(sums: npt.NDArray[np.int64], first: int) -> tuple[int, int, int]:
    return int(sums[first]), int(sums[first + 1]), int(sums[first + 2])


def _file(path: Path, size: int) -> tuple[int, mmap.mmap]:
    """A new file of so many bytes that takes no room yet, and its pages in memory."""
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, size)
        return file, mmap.mmap(file, size)
    except BaseException:
        os.close(file)
        raise


def _memory(size: int, *, huge_pages: bool) -> npt.NDArray[np.float32]:
    """Memory that begins at a page, and is taken when it is written."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    if huge_pages:
        _ask_for_huge_pages(pages)
    return np.frombuffer(pages, np.float32)


def _ask_for_huge_pages(pages: mmap.mmap) -> None:
    """Where the kernel has none for such memory, it stays with small ones."""
    advice: Any = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is not None:
        try:
            pages.madvise(advice)
        except OSError:
            return
