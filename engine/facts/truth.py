"""
Three truth values, as Kleene's strong logic has them.

An unknown fact neither supports nor refutes anything, so the law of the excluded middle does not hold:
`p or not p` is unknown when `p` is.
"""

from collections.abc import Iterable
from enum import Enum


class Truth(Enum):
    """The truth of a condition: decided either way, or not decided by what is known."""

    FALSE = 0
    UNKNOWN = 1
    TRUE = 2

    def __bool__(self) -> bool:
        raise TypeError("a Truth has three values: compare it with `is Truth.TRUE`")

    def __invert__(self) -> "Truth":
        return _NEGATION[self]


_NEGATION = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE, Truth.UNKNOWN: Truth.UNKNOWN}


def conjunction(truths: Iterable[Truth]) -> Truth:
    """False if any is false, else unknown if any is unknown, else true (so true for none at all)."""
    return Truth(min((truth.value for truth in truths), default=Truth.TRUE.value))


def disjunction(truths: Iterable[Truth]) -> Truth:
    """True if any is true, else unknown if any is unknown, else false (so false for none at all)."""
    return Truth(max((truth.value for truth in truths), default=Truth.FALSE.value))


def at_least(count: int, truths: Iterable[Truth]) -> Truth:
    """True if `count` are true, false if `count` can no longer be reached, else unknown."""
    settled = open_ = 0
    for truth in truths:
        settled += truth is Truth.TRUE
        open_ += truth is Truth.UNKNOWN
    if settled >= count:
        return Truth.TRUE
    return Truth.UNKNOWN if settled + open_ >= count else Truth.FALSE
