"""
When a load is ended because nothing good comes of it any more.
"""

from dataclasses import dataclass, field
from typing import Final

_NS: Final = 1_000_000_000
_FEW: Final = 5
"""Failures in a row below which nothing is concluded."""


@dataclass(slots=True)
class Failures:
    """
    Failures since the last good answer.

    `window` is for how long every request must have failed, `hang` for how long no answer may come at all, both in
    seconds.
    """

    window: float
    hang: float
    _first: int = 0
    _count: int = 0
    _last: str = ""
    _come_back: str = ""
    _reasons: dict[str, int] = field(default_factory=dict)

    def add(self, why: str, now: int, *, come_back: str = "") -> None:
        """One request or connection failed; `come_back` is when the server asked to be asked again."""
        if not self._count:
            self._first = now
        self._count += 1
        self._reasons[why] = self._reasons.get(why, 0) + 1
        self._come_back = come_back or self._come_back

    def verdict(self, now: int, *, last_good: int, last_answer: int, oldest: int) -> str:
        """
        Why the load is to end, empty when it is not; all instants in nanoseconds of the monotonic clock.

        `oldest` is when the request was sent that waits longest for its answer, `now` without any.
        """
        if last_good >= self._first:
            self._count = 0
            self._reasons.clear()
        if self._count >= _FEW and now - self._first >= self.window * _NS:
            return f"every request failed for {(now - self._first) / _NS:.1f} s ({self.told}){self._advice}"
        if now - max(last_answer, oldest) > self.hang * _NS:
            return f"no answer at all for {self.hang:g} s: the server hangs, or something between drops what is sent"
        return ""

    @property
    def told(self) -> str:
        """What failed most, and what else."""
        ranked = sorted(self._reasons.items(), key=lambda entry: (-entry[1], entry[0]))
        return ", ".join(f"{why} {count:,}" for why, count in ranked[:3])

    @property
    def _advice(self) -> str:
        return f"; it asks to come back after {self._come_back} s" if self._come_back else ""
