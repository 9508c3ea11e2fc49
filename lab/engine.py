"""
The lab's engine: its arrays, its threads, and the tickets by which the front talks with them.

The front's thread is the only one that runs Python. Every other runs one compiled loop without the GIL until the end.
"""

import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np

from engram_diagnose.lab import log as log_files
from engram_diagnose.lab import snapshot
from engram_diagnose.lab import tiers as tier_files
from engram_diagnose.lab.allocation import new_desk, new_scratch, new_world, workers_of
from engram_diagnose.lab.asking import (
    DEFAULT_SPACE,
    MOST_CONTENT_BYTES,
    MOST_RESULTS,
    OPERATIONS,
    Busy,
    NoSuchSpace,
    TooManySpaces,
)
from engram_diagnose.lab.counting import Occupation, figures_of
from engram_diagnose.lab.figures import Figures
from engram_diagnose.lab.loops import keeping, work
from engram_diagnose.lab.loops import log as log_loops
from engram_diagnose.lab.loops import world as at
from engram_diagnose.lab.loops.embed import embed, normalise
from engram_diagnose.lab.loops.rings import RECALLS, STORES, TICKETS, call_linkers, drain, new_rings, stop
from engram_diagnose.lab.loops.tiers import admit
from engram_diagnose.lab.settings import Settings
from engram_diagnose.lab.snapshot import Kept

_NUMBERS: Final = {name: number for number, name in enumerate(OPERATIONS)}
_RECORD: Final = struct.Struct("<BBBBIIII")
_MILLIONTHS: Final = 1e6
_JOIN_SECONDS: Final = 30.0
_TOLD_SECONDS: Final = 1.0
"""From one line about how far the start has come to the next."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a ticket."""

    ticket: int
    status: int
    rows: Sequence[int]
    scores: Sequence[float]
    took_ns: int


class Engine:
    """
    Memories in a folder, by settings.

    `start` recovers what was stored, `stop` writes what was answered; between the two, one thread may call the rest,
    all of which returns at once.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rings = new_rings(self._eventfd)
        self._free = list(range(TICKETS - 1, -1, -1))
        self._done = np.zeros(TICKETS, np.int32)
        self._storing: dict[int, Kept] = {}
        self._removing: dict[int, int] = {}
        self._kept: dict[int, Kept] = {}
        self._names: dict[str, int] = {}
        self._serials: dict[int, int] = {}
        self._serial = 0
        self._threads: list[threading.Thread] = []
        self._world: Any = None
        self._pages: Any = None
        self._recovery_seconds = 0.0
        self._occupation = Occupation()

    def start(self) -> None:
        """Recover what is in the folder, and start the threads. Raises `OSError`, `SnapshotError`."""
        began = time.monotonic()
        records = log_files.records(self._folder / "log")
        replayed = list(records)
        for stopped in records.stops:
            say(f"the log: {stopped}")
        world, self._pages = new_world(
            self._settings,
            self._folder,
            rings=self._rings,
            next_sequence=records.last_sequence + 1,
            false_sharing=os.environ.get("ENGRAM_LAB_FALSE_SHARING") == "1",
            disk_delay_ms=_milliseconds(os.environ.get("ENGRAM_LAB_DISK_DELAY_MS", "")),
        )
        self._world = world
        self._names, self._kept, sequence = snapshot.load(world, self._folder)
        for name, space in self._names.items():
            self._name(name, space, serial=int(world.spaces[space, at.SERIAL]))
        for record in replayed:
            if record.sequence > sequence:
                self._replay(record.payload)
        self._serials.clear()
        if DEFAULT_SPACE not in self._names:
            self._space(DEFAULT_SPACE)
        if self._settings.storage_mmap_populate:
            tier_files.populate(world.tiers)
        world.upkeep[at.AGED_AT] = time.monotonic_ns()
        self._recovery_seconds = time.monotonic() - began if replayed else 0.0
        self._start_threads()
        self._wait_for_links()

    def stop(self) -> None:
        """End the threads and write a snapshot; what was answered is then on the disk. A second time does nothing."""
        world = self._world
        if world is None:
            return
        if not self._threads:
            self._world = None
            return
        stop(self._rings)
        for thread in self._threads[1:]:
            thread.join(_JOIN_SECONDS)
        log_loops.stop(world.log)
        self._threads[0].join(_JOIN_SECONDS)
        self._world = None
        if any(thread.is_alive() for thread in self._threads):
            say("some threads did not end; the log has what was answered")
            return
        self._save(world)
        log_files.close(world.log)
        tier_files.close(world.tiers)
        os.close(int(world.vector_file[0]))

    def fileno(self) -> int:
        """An eventfd that is readable when `completed` has something to give."""
        return self._eventfd

    def submit(
        self,
        operation: str,
        space: str,
        *,
        text: bytes = b"",
        embedding: Any = None,
        limit: int = 10,
        confidence: float = 0.5,
        arrived_ns: int,
    ) -> int:
        """
        A ticket for an operation.

        Raises `Busy` when too much is in flight, `NoSuchSpace` for a recall of one, `TooManySpaces` for a store to one
        more.
        """
        if not self._free:
            raise Busy("as many operations are in flight as there are tickets")
        number = _NUMBERS[operation]
        place = self._names.get(space)
        if place is None:
            if number != at.STORE:
                raise NoSuchSpace(space)
            place = self._space(space)
        world, ticket = self._world, self._free.pop()
        length = min(len(text), MOST_CONTENT_BYTES)
        if length:
            world.texts[ticket, :length] = np.frombuffer(text, np.uint8, length)
        if embedding is not None:
            world.queries[ticket] = embedding
        world.tickets[ticket, :7] = (number, place, min(max(limit, 1), MOST_RESULTS), arrived_ns, length,
                                     embedding is not None, round(confidence * _MILLIONTHS))  # fmt: skip
        if number == at.STORE:
            self._storing[ticket] = Kept(text[:length].decode(errors="replace"), confidence)
        self._hand_in(ticket, STORES if number == at.STORE else RECALLS)
        return ticket

    def completed(self) -> list[Done]:
        """What has ended since the last call."""
        count = int(drain(self._rings, self._done))
        if not count:
            return []
        world, found = self._world, []
        for ticket in self._done[:count].tolist():
            status, results, took = world.tickets[ticket, at.STATUS : at.TOOK + 1].tolist()
            if ticket in self._removing:
                self._freed(self._removing.pop(ticket))
                self._free.append(ticket)
                continue
            rows = world.rows[ticket, :results].tolist()
            kept = self._storing.pop(ticket, None)
            if kept is not None and rows:
                self._kept[rows[0]] = kept
            found.append(Done(ticket, status, rows, world.scores[ticket, :results].tolist(), took))
            self._free.append(ticket)
        return found

    def memory(self, row: int) -> Kept | None:
        """What was stored under a row; None where nothing is."""
        return self._kept.get(row)

    def spaces(self) -> list[str]:
        """Their names, in the order they came."""
        return list(self._names)

    def remove_space(self, name: str) -> bool:
        """Forget a space and all in it; whether there was one. Its place is free for another soon after."""
        space = self._names.get(name)
        if space is None or name == DEFAULT_SPACE or not self._free:
            return False
        del self._names[name]
        self._world.spaces[space, at.IS_THERE] = 2
        ticket = self._free.pop()
        self._world.tickets[ticket, :7] = at.REMOVAL, space, 1, time.monotonic_ns(), 0, 0, 0
        self._removing[ticket] = space
        self._hand_in(ticket, STORES)
        return True

    def tier_counts(self, space: str | None) -> tuple[int, int, int]:
        """Memories of a space, or of all, that are hot, warm and cold."""
        world = self._world
        names = self._names if space is None else ({space: self._names[space]} if space in self._names else {})
        hot = warm = cold = 0
        for number in names.values():
            low = int(world.spaces[number, at.BASE])
            found = tier_files.memories(world.tiers, low=low, high=low + int(world.spaces[number, at.STORED]))
            hot, warm, cold = hot + found[0], warm + found[1], cold + found[2]
        return hot, warm, cold

    def figures(self) -> Figures:
        """What it counts about itself."""
        return figures_of(
            self._world,
            self._settings,
            busy=self._occupation.shares(self._world),
            names=self._names,
            log_bytes=log_files.disk_bytes(self._folder / "log"),
            recovery_seconds=self._recovery_seconds,
        )

    def tick(self) -> None:
        """A second has gone by: what figures tell as an average is that of this second."""
        self._occupation.tick(self._world)

    # Threads

    def _start_threads(self) -> None:
        settings, world = self._settings, self._world
        pools: tuple[tuple[str, int, Callable[..., Any]], ...] = (
            ("recall", settings.thread_pools_recall_workers, work.serve_recalls),
            ("store", settings.thread_pools_store_workers, work.serve_stores),
            ("link", settings.thread_pools_background_workers, keeping.link_and_move),
            ("consol", settings.thread_pools_consolidation_workers, keeping.consolidate),
        )
        world.upkeep[at.MOVER] = settings.thread_pools_recall_workers + settings.thread_pools_store_workers
        _compile(log_loops.flusher, (world.log,))
        threads = [threading.Thread(target=log_loops.flusher, args=(world.log,), daemon=True)]
        worker = 0
        for name, count, loop in pools:
            for number in range(count):
                if name != "consol" or settings.consolidation_enabled:
                    arguments = (world, new_scratch(settings), new_desk(settings, f"engram-{name}-{number}"), worker)
                    if number == 0:
                        _compile(loop, arguments)
                    threads.append(threading.Thread(target=loop, args=arguments, daemon=True))
                worker += 1
        if worker != workers_of(settings):
            raise AssertionError("each worker has a number of its own")
        for thread in threads:
            thread.start()
            self._threads.append(thread)

    def _wait_for_links(self) -> None:
        """Until what was recovered is linked: all of it, where the index's parameters are others than before."""
        spaces, told = self._world.spaces, time.monotonic()
        while True:
            stored, linked = int(spaces[:, at.STORED].sum()), int(spaces[:, at.SEARCHABLE].sum())
            if linked >= stored:
                return
            if time.monotonic() - told > _TOLD_SECONDS:
                told = time.monotonic()
                say(f"linking memories: {linked:,} of {stored:,}")
            call_linkers(self._rings)
            time.sleep(0.01)

    def _hand_in(self, ticket: int, ring: int) -> None:
        world = self._world
        work.hand_in(self._rings, world.tickets, world.spaces, world.times, ticket, ring)

    # Spaces

    def _space(self, name: str) -> int:
        """A new one. Raises `TooManySpaces`."""
        space = self._free_space(name)
        self._serial += 1
        self._name(name, space, serial=self._serial)
        return space

    def _free_space(self, name: str) -> int:
        free = np.flatnonzero(self._world.spaces[:, at.IS_THERE] == 0)
        space = 0 if name == DEFAULT_SPACE else next((int(one) for one in free if one), -1)
        if space < 0:
            raise TooManySpaces(f"there are {at.SPACES} memory spaces already")
        return space

    def _name(self, name: str, space: int, *, serial: int) -> None:
        letters = name.encode()[:64]
        self._world.names[space, : len(letters)] = np.frombuffer(letters, np.uint8)
        self._world.spaces[space, [at.NAME_LENGTH, at.SERIAL, at.IS_THERE]] = len(letters), serial, 1
        self._serial = max(self._serial, serial)
        self._names[name] = self._serials[serial] = space

    def _freed(self, space: int) -> None:
        """A removed space is empty; another may have its place."""
        low = int(self._world.spaces[space, at.BASE])
        high = low + int(self._world.spaces[space, at.ROWS])
        for row in [row for row in self._kept if low <= row < high]:
            del self._kept[row]
        self._world.spaces[space, at.IS_THERE] = 0

    # What is kept

    def _save(self, world: Any) -> None:
        sequence = int(world.log.state[log_loops.APPENDED])
        try:
            snapshot.save(world, self._folder, names=self._names, kept=self._kept, sequence=sequence)
        except OSError as error:
            say(f"no snapshot was written ({error.strerror}); the log has what was answered")
            return
        # The newest segment stays: by it the next start knows where the sequences go on.
        newest = log_files.segments(self._folder / "log")[-1:]
        log_files.discard(self._folder / "log", below=int(newest[0].stem[4:]) if newest else None)

    def _replay(self, payload: bytes) -> None:
        """What a record of the log says was done."""
        kind, is_given, name_length, _, length, node, confidence, serial = _RECORD.unpack_from(payload)
        begin = _RECORD.size + name_length
        name = payload[_RECORD.size : begin].decode(errors="replace")
        if kind == work.REMOVED:
            self._forget(name, serial)
            return
        text, vector = payload[begin : begin + length], np.zeros(at.DIMENSIONS, np.float32)
        if is_given:
            vector[:] = np.frombuffer(payload, np.uint8)[begin + length :].view(np.float32)
            normalise(vector)
        else:
            embed(self._world.words, np.frombuffer(text + b" ", np.uint8), length, vector)
        space = self._serials.get(serial)
        if space is None:
            space = self._free_space(name)
            self._name(name, space, serial=serial)
        self._put_back(space, node, vector)
        row = int(self._world.spaces[space, at.BASE]) + node
        self._kept[row] = Kept(text.decode(errors="replace"), confidence / _MILLIONTHS)

    def _put_back(self, space: int, node: int, vector: Any) -> None:
        world = self._world
        of = world.spaces[space]
        row = int(of[at.BASE]) + node
        while node >= of[at.BACKED]:
            begin = (int(of[at.BASE]) + int(of[at.BACKED])) * at.DIMENSIONS * 4
            os.posix_fallocate(int(world.vector_file[0]), begin, at.CHUNK * at.DIMENSIONS * 4)
            of[at.BACKED] += at.CHUNK
        world.vectors[row] = vector
        failed = int(admit(world.tiers, row, vector))
        if failed < 0:
            raise OSError(-failed, os.strerror(-failed))
        # Rows before it that no record speaks of were given out and never answered: they stay empty.
        world.ready[int(of[at.BASE]) : row + 1] = 1
        of[at.STORED] = max(int(of[at.STORED]), node + 1)
        of[at.DATA] += at.DIMENSIONS * 4

    def _forget(self, name: str, serial: int) -> None:
        space = self._serials.pop(serial, None)
        if space is not None:
            if self._names.get(name) == space:  # else another of that name came meanwhile
                del self._names[name]
            work.empty(self._world, space)
            self._freed(space)


def say(text: str) -> None:
    """A line for whoever runs the lab."""
    print(f"engram-diagnose lab: {text}", file=sys.stderr, flush=True)


def _compile(loop: Any, arguments: Sequence[Any]) -> None:
    """Compile a loop for such arguments, or load what was compiled, and say so where that takes its time."""
    kinds = tuple(map(numba.typeof, arguments))
    began = time.monotonic()
    loop.compile(kinds)
    if time.monotonic() - began > _TOLD_SECONDS:
        say(f"compiled {loop.__name__} in {time.monotonic() - began:.0f} s; the next start has it")


def _milliseconds(text: str) -> float:
    try:
        return max(0.0, float(text)) if text else 0.0
    except ValueError:
        say(f"ENGRAM_LAB_DISK_DELAY_MS={text!r} is no number of milliseconds; there is no delay")
        return 0.0
