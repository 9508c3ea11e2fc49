"""
Patterns: whether a slice is slow at all times, when the server is busy, where there is much data, or by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from engram_diagnose.engine.comparison.ranks import rank_correlation
from engram_diagnose.engine.comparison.samples import median
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.slow_queries.slices import P99, Slice
from engram_diagnose.verification.side import Key
from engram_diagnose.verification.windows import Cut

State = Literal["yes", "no", "unknown"]
_SECONDS = UNITS["s"]
_SIZES = ("tier.memories", "index.nodes", "data.memory_bytes", "data.bytes")
_RATES = ("op.rate", "ops.space_rate", "ops.rate")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: its name, whether it is there, and a sentence with the figures it rests on."""

    name: str
    state: State
    sentence: str


def patterns_of(one: Slice, others: Sequence[Slice], cut: Cut | None, sizes: Mapping[str, float],
                limits: Mapping[str, float], over: float) -> tuple[Pattern, ...]:  # fmt: skip
    """
    Every pattern of a slice: `time`, `load`, `size` and `operation`.

    `others` are all slices, `cut` the windows of the samples, `sizes` how much data each space holds.
    """
    times = _series(cut, P99, one.scope)
    return (
        _time(times, cut, limits, over),
        _load(times, _rates(cut, one.scope), limits),
        _size(one, others, sizes, limits),
        _operation(one, others),
    )


def _series(cut: Cut | None, name: str, scope: Scope) -> Mapping[int, float]:
    return cut.figures.get(Key(name, scope), {}) if cut is not None else {}


def _rates(cut: Cut | None, scope: Scope) -> Mapping[int, float]:
    """The load by window: of the slice itself, else of its space, else of the server."""
    space = scope.get("space")
    places = [scope, scope_of({"space": space}) if space else INSTANCE, INSTANCE]
    found = (_series(cut, name, place) for name, place in zip(_RATES, places, strict=True))
    return next((series for series in found if series), {})


def _too_few(name: str, windows: int, limits: Mapping[str, float]) -> Pattern:
    needed = int(limits["windows"])
    return Pattern(name, "unknown", f"{windows} of the {needed} windows of samples that it takes (--since)")


def _time(times: Mapping[int, float], cut: Cut | None, limits: Mapping[str, float], over: float) -> Pattern:
    if cut is None or len(times) < limits["windows"]:
        return _too_few("time", len(times), limits)
    slow = [number for number, value in times.items() if value > over]
    worst = max(times, key=lambda number: (times[number], -number))
    middle = median(list(times.values()))
    length, at = format_value(cut.seconds, _SECONDS), _clock(cut.start + (worst + 1) * cut.seconds)
    share = f"over the limit in {len(slow)} of {len(times)} windows of {length}"
    peak = f"{format_value(times[worst], _SECONDS)} in the one that ended {at}"
    if times[worst] >= limits["peak"] * middle > 0:
        peak += f", {times[worst] / middle:.1f} times the middle one"
    if len(slow) >= limits["all_the_time"] * len(times):
        return Pattern("time", "no", f"slow all the time: {share}, worst {peak}")
    return Pattern("time", "yes", f"slow at times: {share}, worst {peak}")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M UTC")


def _load(times: Mapping[int, float], rates: Mapping[int, float], limits: Mapping[str, float]) -> Pattern:
    common = sorted(times.keys() & rates.keys())
    if len(common) < limits["windows"]:
        return _too_few("load", len(common), limits)
    found = rank_correlation([rates[number] for number in common], [times[number] for number in common])
    if found is None:
        return Pattern("load", "unknown", "load or latency was the same in every window")
    said = f"rank correlation {found:+.2f} over {len(common)} windows"
    if found >= limits["follows"]:
        return Pattern("load", "yes", f"slower when there is more to do: {said}")
    return Pattern("load", "no", f"not slower when there is more to do: {said}")


def _size(one: Slice, others: Sequence[Slice], sizes: Mapping[str, float], limits: Mapping[str, float]) -> Pattern:
    alike = [other for other in others if other.operation == one.operation and other.space in sizes and other.p99.known]
    if len(alike) < limits["spaces"]:
        sentence = f"{len(alike)} of the {int(limits['spaces'])} spaces with a known size that it takes"
        return Pattern("size", "unknown", sentence)
    found = rank_correlation([sizes[other.space] for other in alike], [other.slowness for other in alike])
    if found is None:
        return Pattern("size", "unknown", "all spaces are as large, or as slow")
    said = f"rank correlation {found:+.2f} over {len(alike)} spaces"
    if found >= limits["follows"]:
        return Pattern("size", "yes", f"larger spaces are slower: {said}")
    return Pattern("size", "no", f"larger spaces are not slower: {said}")


def _operation(one: Slice, others: Sequence[Slice]) -> Pattern:
    beside = [other for other in others if other.space == one.space and other.operation != one.operation]
    known = [other for other in beside if other.standing in ("slow", "within")]
    if not known:
        return Pattern("operation", "unknown", "no other operation's latency is known here")
    slow = sorted(other.operation for other in known if other.standing == "slow")
    quick = sorted(other.operation for other in known if other.standing == "within")
    if not slow:
        return Pattern("operation", "yes", f"the only one that is slow here; within the limit: {', '.join(quick)}")
    if not quick:
        return Pattern("operation", "no", f"every operation is slow here: {', '.join(slow)} too")
    return Pattern("operation", "no", f"slow here too: {', '.join(slow)}; within the limit: {', '.join(quick)}")


def sizes_of(values: Mapping[tuple[str, Scope], float]) -> dict[str, float]:
    """How much data each memory space holds, by the first figure that is known by space."""
    for name in _SIZES:
        found: dict[str, float] = {}
        for (fact, scope), value in values.items():
            space = scope.get("space")
            if fact == name and space is not None:
                found[space] = found.get(space, 0.0) + value
        if found:
            return found
    return {}
