"""
Numbers that look random and are always the same: a verdict must not change when it is asked for again.
"""

from typing import Final

_MASK: Final = (1 << 64) - 1


class Chance:
    """SplitMix64 (Steele, Lea and Flood 2014): one 64-bit state, uniform enough for resampling."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1; the bias is under 2^-32 for bounds below 2^32."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) * bound) >> 64
