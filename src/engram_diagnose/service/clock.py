"""
Notices when somebody sets the clock back: what waits in the database for a time of day would wait so much longer.
"""

import time
from collections.abc import Callable
from typing import Final

_STEP_SECONDS: Final = 1.0
"""What counts as set; less makes nobody wait noticeably longer."""


class ClockWatch:
    """Compares the time of day with the clock that only ever runs on. Small steps add up until they count."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._ahead = clock() - monotonic()

    def set_back_seconds(self) -> float:
        """By how much the clock was set back since this was last said; 0 where it was not, or was set forward."""
        ahead = self._clock() - self._monotonic()
        back = self._ahead - ahead
        if 0 < back < _STEP_SECONDS:
            return 0.0
        self._ahead = ahead
        return max(0.0, back)
