"""
Failures that last: told as they begin, seldom while they go on, and once when they are over.
"""

import time
from collections.abc import Callable
from typing import Final

from engram_diagnose.service.log import Log

REMINDER_SECONDS: Final = 600.0
"""How long nothing more is said of a failure that goes on: an operator knows, and the log may be on a full disk."""


class Lasting:
    """
    Tells the log of one thing that is tried again and again, by its name. One thread uses it.

    `clock` gives seconds that only go forward.
    """

    def __init__(self, name: str, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._log = log
        self._clock = clock
        self._failures = 0
        self._told = 0.0

    def failed(self, error: str) -> None:
        """It failed, for the first time or once more."""
        self._failures += 1
        now = self._clock()
        if self._failures == 1 or now - self._told >= REMINDER_SECONDS:
            self._told = now
            self._log.error(f"{self._name} failed", error=error, failures=self._failures)

    def worked(self) -> None:
        """It did what it is there for."""
        if self._failures:
            self._log.info(f"{self._name} works again", failures=self._failures)
        self._failures = 0
