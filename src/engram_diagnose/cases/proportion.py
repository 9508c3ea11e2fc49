"""
Counts as shares, with what chance leaves open.
"""

from dataclasses import dataclass

from engram_diagnose.collectors.parse.stacks import wilson


@dataclass(frozen=True, slots=True)
class Proportion:
    """`part` of `whole`; both 0 where nothing was to be counted."""

    part: int
    whole: int

    @property
    def share(self) -> float | None:
        """None of nothing."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share lies 95 of 100 times, by Wilson; anywhere, when nothing was counted."""
        return wilson(self.part, self.whole) if self.whole else (0.0, 1.0)

    def __add__(self, other: "Proportion") -> "Proportion":
        return Proportion(self.part + other.part, self.whole + other.whole)


def counted(outcomes: "list[bool]") -> Proportion:
    """How many of them are true."""
    return Proportion(sum(outcomes), len(outcomes))
