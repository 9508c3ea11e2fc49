"""
The Mann-Whitney test: could two sets of runs have been dealt out of one pack?

It asks nothing of the distribution but that runs are exchangeable when nothing changed, which interleaved runs are and
raw samples of one run are not.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

EXACT: Final = 60
"""Runs of both sides together up to which every way of dealing them out is counted."""
_BITS: Final = 64
"""Bits for one count; no count of ways exceeds C(60, 30) < 2^57."""


def mann_whitney(before: Sequence[float], after: Sequence[float]) -> float:
    """
    The two-sided p-value: the share of all ways to deal the values out whose rank sum is as far from its mean.

    Exact, ties included, up to `EXACT` values; beyond that the normal approximation with corrections for ties and
    continuity. 1 where one side is empty.
    """
    if not before or not after:
        return 1.0
    doubled = _doubled_ranks((*before, *after))
    sum_before = sum(doubled[: len(before)])
    if len(doubled) <= EXACT:
        return _exact(tuple(sorted(doubled)), len(before), sum_before)
    return _approximate(doubled, len(before), sum_before)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """
    Spearman's: how far two figures of the same things rise together, from -1 to 1; ties share their mean rank.

        ρ = cov(rank a, rank b) / (σ(rank a) · σ(rank b))

    None where one of them is the same throughout. Raises `ValueError` for sequences of different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} figures cannot be paired with {len(second)}")
    a, b = _doubled_ranks(first), _doubled_ranks(second)
    middle = len(a) + 1
    spread = [sum((rank - middle) ** 2 for rank in ranks) for ranks in (a, b)]
    if not all(spread):
        return None
    together = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
    return together / math.sqrt(spread[0] * spread[1])


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, so that the mean rank of ties is a whole number."""
    counts = Counter(values)
    ranks: dict[float, int] = {}
    below = 0
    for value in sorted(counts):
        ranks[value] = 2 * below + counts[value] + 1
        below += counts[value]
    return [ranks[value] for value in values]


def _exact(ranks: tuple[int, ...], chosen: int, rank_sum: int) -> float:
    if 2 * chosen > len(ranks):  # the other side's sum tells the same
        chosen, rank_sum = len(ranks) - chosen, sum(ranks) - rank_sum
    mean = chosen * (len(ranks) + 1)
    as_far = sum(ways for at, ways in _ways(ranks, chosen).items() if abs(at - mean) >= abs(rank_sum - mean))
    return as_far / math.comb(len(ranks), chosen)


@lru_cache(maxsize=64)
def _ways(ranks: tuple[int, ...], chosen: int) -> dict[int, int]:
    """How many choices of `chosen` ranks have each sum; the counts of one size are digits of one long number."""
    rows = [1] + [0] * chosen
    for rank in ranks:
        for size in range(chosen, 0, -1):
            rows[size] += rows[size - 1] << (_BITS * rank)
    width = _BITS // 8
    digits = rows[chosen].to_bytes(rows[chosen].bit_length() // 8 + 1, "little")
    counts = (int.from_bytes(digits[start : start + width], "little") for start in range(0, len(digits), width))
    return {rank_sum: ways for rank_sum, ways in enumerate(counts) if ways}


def _approximate(doubled: Sequence[int], chosen: int, rank_sum: int) -> float:
    total = len(doubled)
    other = total - chosen
    ties = sum(count**3 - count for count in Counter(doubled).values())
    variance = chosen * other / 12 * ((total + 1) - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    far = max(0.0, abs(rank_sum - chosen * (total + 1)) / 2 - 0.5)
    return math.erfc(far / math.sqrt(2 * variance))
