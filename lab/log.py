"""
The write-ahead log's arrays and files: opened, read again after whatever ended the process, thrown away.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from engram_diagnose.lab.loops import log as loops
from engram_diagnose.lab.loops.locks import new_words
from engram_diagnose.lab.loops.log import Log

_MEBIBYTE: Final = 1 << 20
_LONGEST_DELAY_SECONDS: Final = 1.0
_POLYNOMIAL: Final = 0xEDB88320


@dataclass(frozen=True, slots=True)
class Record:
    """What was appended, and under which sequence."""

    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """Where reading of a segment stopped before its end, and why: a torn write, or damage."""

    segment: str
    offset: int
    why: str

    def __str__(self) -> str:
        return f"{self.segment}, byte {self.offset}: {self.why}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the log counted since it was opened; `buckets` are of `bounds_seconds`, and one for what took longer."""

    bytes_written: int
    flushes: int
    failed_flushes: int
    flush_seconds: float
    bounds_seconds: tuple[float, ...]
    buckets: tuple[int, ...]
    pending: int
    appended: int
    refused: int
    waited: int
    segments: int
    error: int
    """errno of the last flush, 0 where it did not fail."""


def open_log(
    folder: Path,
    *,
    is_immediate: bool,
    buffer_mb: float,
    flush_interval_ms: float,
    segment_mb: float,
    disk_delay_ms: float = 0.0,
    next_sequence: int = 1,
) -> Log:
    """
    A log that goes on in a new segment of `folder`; what was recorded before stays as it is.

    A buffer that is smaller than a record has room for that one alone. Raises `OSError` where no segment can be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = max(loops.LEAST_RING, int(buffer_mb * _MEBIBYTE)) // 8 * 8
    ring = np.zeros(size, np.uint8)
    limits, state = np.zeros(loops.LIMITS, np.int64), np.zeros(loops.STATE, np.int64)
    limits[loops.RING] = size
    limits[loops.BUFFER] = int(buffer_mb * _MEBIBYTE)
    limits[loops.IS_IMMEDIATE] = is_immediate
    limits[loops.INTERVAL_NS] = max(0, int(flush_interval_ms * 1e6))
    limits[loops.SEGMENT] = max(loops.BLOCK, int(segment_mb * _MEBIBYTE))
    limits[loops.DELAY_NS] = int(min(max(0.0, disk_delay_ms / 1e3), _LONGEST_DELAY_SECONDS) * 1e9)
    limits[loops.FOLDER] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    state[loops.FILE] = -1
    state[loops.NUMBER] = max(map(_number_of, segments(folder)), default=0)
    state[loops.APPENDED] = state[loops.SETTLED] = next_sequence - 1
    header = np.zeros(loops.SEGMENT_HEADER, np.uint8)
    header[: len(loops.HEADER)] = np.frombuffer(loops.HEADER, np.uint8)
    log = Log(
        ring=ring,
        ring_words=ring.view(np.int64),
        staging=np.zeros(loops.MOST_PAYLOAD + 3 * loops.BLOCK, np.uint8),
        outcomes=np.zeros(loops.OUTCOMES, np.int32),
        words=new_words(loops.WORDS),
        state=state,
        limits=limits,
        figures=np.zeros(loops.FIGURES, np.int64),
        bounds=np.array(loops.BOUNDS_NS, np.int64),
        crcs=_crc_tables(),
        segment_header=header,
        segment_name=np.frombuffer(bytearray(loops.NAME), np.uint8),
        thread_name=np.frombuffer(bytearray(b"engram-wal\0"), np.uint8),
    )
    failed = int(loops.begin(log))
    if failed:
        os.close(int(limits[loops.FOLDER]))
        raise OSError(-failed, os.strerror(-failed), str(folder))
    return log


def close(log: Log) -> None:
    """Close the files of a log whose flusher has ended; a second time does nothing."""
    for array, place in ((log.state, loops.FILE), (log.limits, loops.FOLDER)):
        if array[place] >= 0:
            os.close(int(array[place]))
            array[place] = -1


def figures(log: Log) -> Figures:
    """What the log counted, while it goes on."""
    counted, buckets = log.figures, log.figures[loops.BUCKETS : loops.BUCKETS + len(loops.BOUNDS_NS) + 1]
    settled = int(log.state[loops.SETTLED])
    appended = int(log.state[loops.APPENDED])
    return Figures(
        bytes_written=int(counted[loops.BYTES]),
        flushes=int(counted[loops.FLUSHES]),
        failed_flushes=int(counted[loops.FAILED]),
        flush_seconds=int(counted[loops.FLUSH_NS]) / 1e9,
        bounds_seconds=tuple(bound / 1e9 for bound in loops.BOUNDS_NS),
        buckets=tuple(int(count) for count in buckets),
        pending=max(0, appended - settled),
        appended=appended,
        refused=int(counted[loops.REFUSED]),
        waited=int(counted[loops.WAITED]),
        segments=int(counted[loops.SEGMENTS]),
        error=-int(log.state[loops.ERROR]),
    )


# --- reading again ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Records:
    """
    The intact records of a folder, in their order; an iterator, which reads one segment at a time.

    It never raises for what is in a file: where a segment does not go on, `stops` says so once it was passed, and the
    next segment is read. The torn end of the last one is what a kill leaves behind.
    """

    folder: Path
    stops: list[Stop] = field(default_factory=list)
    last_sequence: int = 0

    def __iter__(self) -> Iterator[Record]:
        for path in segments(self.folder):
            try:
                data = path.read_bytes()
            except OSError as error:
                self.stops.append(Stop(path.name, 0, f"not readable: {error.strerror or error}"))
                continue
            yield from self._of_segment(path.name, data)

    def _of_segment(self, name: str, data: bytes) -> Iterator[Record]:
        if not data.startswith(loops.HEADER):
            if data.strip(b"\0"):
                self.stops.append(Stop(name, 0, "this is no segment of a log"))
            return
        at = loops.SEGMENT_HEADER
        while at < len(data):
            found = parse_record(data, at)
            if isinstance(found, str):
                if found:
                    self.stops.append(Stop(name, at, found))
                return
            if found.sequence <= self.last_sequence:
                self.stops.append(Stop(name, at, f"record {found.sequence} comes after {self.last_sequence}"))
                return
            self.last_sequence = found.sequence
            at += record_size(len(found.payload))
            yield found


def records(folder: Path) -> Records:
    """What can be read again of the log in a folder, which may be missing."""
    return Records(folder)


def parse_record(data: bytes, at: int) -> Record | str:
    """The record at a position of a segment, or why there is none; "" where only zeros follow: its end."""
    header = data[at : at + loops.RECORD_HEADER]
    if not any(header) and not any(data[at : at + loops.BLOCK]):
        return ""
    if len(header) < loops.RECORD_HEADER:
        return "the header of a record is cut off"
    length = int.from_bytes(header[4:8], "little")
    if length > loops.MOST_PAYLOAD:
        return f"a record of {length} bytes; {loops.MOST_PAYLOAD} is the most"
    begin = at + loops.RECORD_HEADER
    payload = data[begin : begin + length]
    if len(payload) < length:
        return f"a record of {length} bytes is cut off after {len(payload)}"
    if zlib.crc32(header[4:], zlib.crc32(payload)) != int.from_bytes(header[:4], "little"):
        return "the check sum of a record is wrong"
    return Record(int.from_bytes(header[8:], "little"), payload)


def record_size(length: int) -> int:
    """Bytes that a record with a payload of so many takes."""
    return loops.RECORD_HEADER + (length + 7) // 8 * 8


def segments(folder: Path) -> list[Path]:
    """The segments of a log, in their order."""
    found = [path for path in folder.glob("wal-*.log") if path.stem[4:].isdecimal()]
    return sorted(found, key=_number_of)


def disk_bytes(folder: Path) -> int:
    """What the segments take on the disk."""
    return sum(path.stat().st_size for path in segments(folder) if path.exists())


def discard(folder: Path, *, below: int | None = None) -> int:
    """Remove the segments with lower numbers, or all, once what they hold is kept elsewhere; how many there were."""
    old = [path for path in segments(folder) if below is None or _number_of(path) < below]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _number_of(path: Path) -> int:
    return int(path.stem[4:])


def _crc_tables() -> "np.typing.NDArray[np.uint32]":
    """Table k: what a byte leaves after k more bytes of zeros."""
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        tables[0, byte] = crc
    for table in range(1, 8):
        before = tables[table - 1]
        tables[table] = (before >> 8) ^ tables[0][before & 0xFF]
    return tables.reshape(-1)
