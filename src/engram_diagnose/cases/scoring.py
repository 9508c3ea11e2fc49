"""
How well diagnoses do on labelled cases: whether what was planted comes first, and whether confidences are kept.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.cases.judging import MET, Judged
from engram_diagnose.cases.proportion import Proportion, counted

Limits = Mapping[str, float]
_TWO: Final = 2


@dataclass(frozen=True, slots=True)
class Bin:
    """Conclusions of one stretch of confidence, above `low` (at it, for 0) up to `high`: mean said, and right ones."""

    low: float
    high: float
    said: float
    right: Proportion


@dataclass(frozen=True, slots=True)
class Brier:
    """
    Mean squared distance of confidence from the truth (0 or 1), and Murphy's parts of it over the bins.

        score = reliability - resolution + uncertainty + within

    `within` is what the bins hide: that confidences within one differ.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float
    count: int


@dataclass(frozen=True, slots=True)
class Miss:
    """A case that came out wrong: what was planted, what became of it, what stood first instead."""

    case: str
    planted: tuple[str, ...]
    fate: str
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """
    Shares of cases, and of conclusions, with their counts.

    `first` and `among_first`: one fault that can be seen, named first or among the first few; `both`: two faults, both
    among the first few; `quiet`: healthy, and no cause above the limit; `admitted`: what cannot be seen came out as not
    testable, or was concluded all the same; `called_healthy`: something is wrong, and every target was called met;
    `false_sure`: causes stated above the limit that are wrong.
    """

    cases: int
    first: Proportion
    among_first: Proportion
    both: Proportion
    quiet: Proportion
    admitted: Proportion
    called_healthy: Proportion
    false_sure: Proportion
    curve: tuple[Bin, ...]
    brier: Brier | None
    misses: tuple[Miss, ...]


def score(cases: Iterable[Judged], limits: Limits) -> Score:
    """The score of diagnosed cases under the limits of `rules/catalogue/cases.yaml`."""
    all_of = list(cases)
    top = round(limits["top"])
    seen = [one for one in all_of if one.label.visible == "yes"]
    single = [one for one in seen if len(one.label.causes) == 1]
    several = [one for one in seen if len(one.label.causes) >= _TWO]
    healthy = [one for one in all_of if one.label.healthy]
    veiled = [one for one in all_of if not one.label.healthy and one.label.visible != "yes"]
    said = conclusions(all_of)
    curve = calibration_curve(said, bins=round(limits["bins"]))
    return Score(
        len(all_of),
        counted([one.rank_of(one.label.right) == 1 for one in single]),
        counted([is_within(one, top) for one in single]),
        counted([is_within(one, top) for one in several]),
        counted([is_quiet(one, limits["healthy_most"]) for one in healthy]),
        counted([is_admitted(one) for one in veiled]),
        counted([one.state == MET for one in all_of if not one.label.healthy]),
        counted([not right for confidence, right in said if confidence > limits["sure"]]),
        curve,
        brier(said, curve),
        tuple(miss for one in all_of if (miss := miss_of(one, limits)) is not None),
    )


def is_within(one: Judged, top: int) -> bool:
    """Whether a rule that names it stands among the first `top`, for each thing that is wrong."""
    ranks = [one.rank_of(rules) for rules in one.label.causes]
    return all(rank is not None and rank <= top for rank in ranks)


def is_quiet(one: Judged, most: float) -> bool:
    """Whether no cause is stated above a confidence."""
    return all(named.stated <= most for named in one.named if named.rule not in one.label.true_besides)


def is_admitted(one: Judged) -> bool:
    """Whether each thing that is wrong was concluded, or came out as not testable; and the server not as healthy."""
    known = one.not_testable | {named.rule for named in one.named}
    return one.state != MET and all(known.intersection(rules) for rules in one.label.causes)


# Confidences


def conclusions(cases: Iterable[Judged]) -> list[tuple[float, bool]]:
    """Every stated confidence with whether it is right, but for those of which that cannot be said."""
    judged = ((named.stated, one.is_right(named)) for one in cases for named in one.named)
    return [(confidence, right) for confidence, right in judged if right is not None]


def calibration_curve(said: Sequence[tuple[float, bool]], *, bins: int) -> tuple[Bin, ...]:
    """Confidences in `bins` stretches of equal width, those without any left out."""
    found: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for one in said:
        found[min(bins - 1, max(0, math.ceil(one[0] * bins) - 1))].append(one)
    return tuple(
        Bin(position / bins, (position + 1) / bins, math.fsum(said for said, _ in inside) / len(inside),
            counted([right for _, right in inside]))
        for position, inside in enumerate(found) if inside
    )  # fmt: skip


def brier(said: Sequence[tuple[float, bool]], curve: Sequence[Bin]) -> Brier | None:
    """The Brier score with its parts over the bins of its curve; None where nothing was concluded."""
    if not said:
        return None
    count = len(said)
    whole = math.fsum((confidence - right) ** 2 for confidence, right in said) / count
    base = sum(right for _, right in said) / count
    reliability = math.fsum(one.right.whole * (one.said - _share(one)) ** 2 for one in curve) / count
    resolution = math.fsum(one.right.whole * (_share(one) - base) ** 2 for one in curve) / count
    uncertainty = base * (1 - base)
    within = whole - (reliability - resolution + uncertainty)
    return Brier(whole, reliability, resolution, uncertainty, within, count)


def _share(one: Bin) -> float:
    return one.right.part / one.right.whole


def restated(cases: Iterable[Judged], stated: Callable[[float], float]) -> list[Judged]:
    """The same diagnoses with confidences stated anew from what was weighed."""
    return [
        replace(one, named=tuple(replace(named, stated=stated(named.weighed)) for named in one.named)) for one in cases
    ]


# What went wrong


def miss_of(one: Judged, limits: Limits) -> Miss | None:
    """What is wrong with a case's diagnosis; None where nothing is."""
    first = tuple(f"{named.rule} {named.stated:.0%}" for named in one.named[: round(limits["top"])])
    if one.label.healthy:
        loud = tuple(f"{named.rule} {named.stated:.0%}" for named in one.named
                     if named.stated > limits["healthy_most"] and named.rule not in one.label.true_besides)  # fmt: skip
        return Miss(one.label.name, (), "something is called likely", loud) if loud else None
    if one.label.visible != "yes":
        return None if is_admitted(one) else Miss(one.label.name, _planted(one), _fates(one), first)
    well = one.rank_of(one.label.right) == 1 if len(one.label.causes) == 1 else is_within(one, round(limits["top"]))
    return None if well and one.state != MET else Miss(one.label.name, _planted(one), _fates(one), first)


def _planted(one: Judged) -> tuple[str, ...]:
    return tuple(rules[0] for rules in one.label.causes)


def _fates(one: Judged) -> str:
    if one.state == MET:
        return "every target is called met"
    return ", ".join(_fate(one, rules) for rules in one.label.causes)


def _fate(one: Judged, rules: Sequence[str]) -> str:
    rank = one.rank_of(rules)
    return f"rank {rank}" if rank is not None else one.fate_of(rules)


# Groups


def by_family(cases: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Cases by the family of their fault, in the order of the alphabet."""
    return _grouped(cases, lambda one: one.label.family)


def by_severity(cases: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Cases by how severe they are."""
    return _grouped(cases, lambda one: one.label.severity or "-")


def by_host(cases: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Cases by the shape of their host."""
    return _grouped(cases, lambda one: one.label.host.shape)


def _grouped(cases: Iterable[Judged], key: Callable[[Judged], str]) -> dict[str, list[Judged]]:
    found: dict[str, list[Judged]] = {}
    for one in cases:
        found.setdefault(key(one), []).append(one)
    return dict(sorted(found.items()))
