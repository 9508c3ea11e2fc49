"""Watching the host while it is looked at, and stopping when that is no longer harmless."""

from __future__ import annotations

import json
import re
import threading

from engram_diagnose.collectors.capture.reading import Reading, read
from engram_diagnose.collectors.capture.step import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import Machine

_RESOURCES = ("cpu", "memory", "io")
_FIRST_LOOKS = 2
"""How many looks tell what is usual; the kernel's own mean lags behind a load that has just begun."""


def pressure_totals(machine: Machine) -> dict[str, float]:
    """Seconds in which some task waited, by resource; a resource the kernel does not tell of is left out."""
    found = {}
    for resource in _RESOURCES:
        text = read(machine.proc(f"pressure/{resource}")).body or ""
        total = re.search(r"^some [^\n]{0,200}total=([0-9]{1,18})$", text, re.MULTILINE)
        if total:
            found[resource] = int(total.group(1)) * 1e-6
    return found


def available_memory(machine: Machine) -> int | None:
    """Bytes that a new program could have; None where the kernel does not say."""
    found = re.search(
        r"^MemAvailable:\s{1,60}([0-9]{1,18}) kB$", read(machine.proc("meminfo")).body or "", re.MULTILINE
    )
    return int(found.group(1)) * 1024 if found else None


class Guard:
    """
    Ends a collection when pressure on the host rises by more than `limits` allow above what it was before.

    What was there before is the kernel's mean over ten seconds, or what the first looks saw, whichever is more. A look
    is the share of the time since the last one in which some task waited; as many in a row count as the limit
    `looks_in_a_row` says. Used as a context manager, it looks from a thread of its own.
    """

    def __init__(self, machine: Machine, limits: Mapping[str, float], stop: Stop) -> None:
        self._machine = machine
        self._limits = limits
        self._stop = stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="guard", daemon=True)
        self._before: dict[str, float] = {}
        self._highest: dict[str, float] = {}
        self._above: dict[str, int] = {}
        self._looks = 0
        self._last: tuple[float, dict[str, float]] | None = None

    def __enter__(self) -> Guard:
        least = self._limits["least_memory"]
        available = available_memory(self._machine)
        if available is not None and available < least:
            free, wanted = available / 2**20, least / 2**20
            self._stop.because(f"only {free:.0f} MiB of memory are available, and {wanted:.0f} MiB are to be left")
        try:
            self._thread.start()
        except RuntimeError as error:  # no room for one more thread: unwatched, nothing is looked at
            self._stop.because(f"nobody can watch the host's pressure meanwhile: {error}")
        except BaseException:  # interrupted once it was begun: nobody else would end it
            self._over.set()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def answer(self) -> Answer:
        """What it saw: shares before and at most, by resource, and why it ended the collection, if it did."""
        stopped = self._stop.why if self._stop.is_set() else ""
        body = json.dumps({"before": self._before, "highest": self._highest, "stopped": stopped}, sort_keys=True)
        return self._machine.answer("collection", "guard", Reading(body))

    def _watch(self) -> None:
        while not self._over.wait(self._limits["look_every"]) and not self._stop.is_set():
            self.look()

    def look(self) -> None:
        """Compare the time since the last look with what was before."""
        now, totals = self._machine.now(), pressure_totals(self._machine)
        if self._last is None:
            self._before = self._resting()
        elif now > self._last[0]:
            self._judge(now - self._last[0], self._last[1], totals)
        else:
            return
        self._last = (now, totals)

    def _resting(self) -> dict[str, float]:
        """What the kernel says of the ten seconds before."""
        found = {}
        for resource in _RESOURCES:
            text = read(self._machine.proc(f"pressure/{resource}")).body or ""
            average = re.search(r"^some avg10=([0-9]{1,3}\.[0-9]{1,4}) ", text, re.MULTILINE)
            if average:
                found[resource] = float(average.group(1)) / 100
        return found

    def _judge(self, seconds: float, old: Mapping[str, float], new: Mapping[str, float]) -> None:
        self._looks += 1
        for resource in sorted(new.keys() & old.keys() & self._before.keys()):
            share = min(1.0, max(0.0, new[resource] - old[resource]) / seconds)
            self._highest[resource] = max(share, self._highest.get(resource, 0.0))
            if self._looks <= _FIRST_LOOKS:
                self._before[resource] = max(share, self._before[resource])
                continue
            rise = self._limits[f"{resource}_pressure_rise"]
            self._above[resource] = self._above.get(resource, 0) + 1 if share > self._before[resource] + rise else 0
            if self._above[resource] >= self._limits["looks_in_a_row"]:
                was, now = self._before[resource], share
                self._stop.because(f"{resource} pressure on the host rose from {was:.0%} to {now:.0%} meanwhile")
