"""
Drawings of a run: latency by percentile, and what happened when; shapes in the coordinates of an SVG.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from engram_diagnose.render.drawing import Drawn, Label, Line, Mark, Points, Tick
from engram_diagnose.render.measured import figure
from engram_diagnose.render.roofline import Scale

Json = Mapping[str, Any]

_WIDTH: Final = 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 26, 34
_TALL: Final = 320
_FLAT: Final = 170
_TEXT: Final = 5
_NINES: Final = {0.5: "50 %", 0.1: "90 %", 0.01: "99 %", 0.001: "99.9 %", 1e-4: "99.99 %", 1e-5: "99.999 %"}
_ROUND: Final = (1.0, 2.0, 5.0, 10.0)
_SHOWN: Final = {"response": "response", "service": "service"}


@dataclass(frozen=True, slots=True)
class _Linear:
    """An axis from zero."""

    high: float

    def at(self, value: float) -> float:
        return value / self.high


@dataclass(frozen=True, slots=True)
class _Plot:
    """Axes within a drawing of a height; `across` and `up` place a figure between 0 and 1."""

    across: Callable[[float], float]
    up: Callable[[float], float]
    height: int

    def x(self, value: float) -> float:
        return round(_LEFT + self.across(value) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(self.height - _BOTTOM - self.up(value) * (self.height - _TOP - _BOTTOM), 1)

    def path(self, points: Points) -> str:
        """A line through points; those that fall on one spot are drawn once."""
        placed = list(dict.fromkeys((self.x(x), self.y(y)) for x, y in points))
        return "M" + " L".join(f"{x} {y}" for x, y in placed)

    def ticks(self, across: Mapping[float, str], up: Mapping[float, str]) -> tuple[Tick, ...]:
        low, right = self.height - _BOTTOM, _WIDTH - _RIGHT
        columns = [Tick(self.x(at), _TOP, self.x(at), low, self.x(at), low + 22, "middle", text)
                   for at, text in across.items()]  # fmt: skip
        rows = [Tick(_LEFT, self.y(at), right, self.y(at), _LEFT - 6, self.y(at) + _TEXT, "end", text)
                for at, text in up.items()]  # fmt: skip
        return (*columns, *rows)


# Latency by percentile


def drawn_curve(run: int, name: str, operation: Json, limit: tuple[float, str] | None) -> Drawn | None:
    """
    Response and service time by percentile; `limit` is what the 99th may be, in seconds and in words.

    Across lies the share that waited longer, on a logarithmic axis, so that 99 % and 99.9 % have as much room as the
    rest together. None where fewer than two points can be told.
    """
    curves = {kind: percentile_curve(operation[kind]) for kind in _SHOWN}
    if len(curves["response"]) < 2:
        return None
    points = [point for curve in curves.values() for point in curve]
    seconds = [y for _, y in points] + ([limit[0]] if limit and limit[0] > 0 else [])
    shares = Scale(min(x for x, _ in points) / 1.2, 1.0)
    times = Scale(min(seconds) / 1.3, max(seconds) * 1.3)
    plot = _Plot(lambda share: 1 - shares.at(share), times.at, _TALL)
    bound = [Mark(plot.x(0.01), plot.y(limit[0]))] if limit and limit[0] > 0 and shares.low < 0.01 else []
    p99, served = (operation[kind]["quantiles"]["p99"] for kind in ("response", "service"))
    told = f"{name}: 99 % answered within {_seconds(p99)} of the planned instant, {_seconds(served)} of the sending."
    return Drawn(
        f"run-{run}-{name}", f"Latency of {name} by percentile", told,
        "Time to the good answer (up) by the share of requests that were answered within it (across), both "
        "logarithmic. Solid: response, from the planned instant; dashed: service, from the sending."
        + (" The dot is the limit of the 99th percentile." if bound else ""),
        plot.ticks({at: text for at, text in _NINES.items() if at > shares.low},
                   {at: figure(at, "s") for at in _decades(times)}),
        tuple(Line(kind, plot.path(curve)) for kind, curve in curves.items() if len(curve) > 1),
        tuple(bound),
        tuple(_beside(mark, limit[1] if limit else "") for mark in bound),
        height=_TALL,
    )  # fmt: skip


def percentile_curve(histogram: Json) -> list[tuple[float, float]]:
    """
    Points of (share above, seconds) from the histogram's buckets, the share falling.

    Each bucket gives the share of observations above its upper bound; the last observation stands at its own share,
    with the largest time, as nothing was seen above it. Times are no finer than the buckets are.
    """
    total, seen, points = sum(histogram["counts"]), 0, []
    last = len(histogram["counts"]) - 1
    for number, found in enumerate(histogram["counts"]):
        seen += found
        if found and number < last and seen < total:
            points.append(((total - seen) / total, min(histogram["bounds"][number], histogram["max"])))
    if total and histogram["max"]:
        points.append((1 / total, histogram["max"]))
    first = next((number for number, found in enumerate(histogram["counts"]) if found), 0)
    lowest = histogram["bounds"][first - 1] if first else 0.0
    return [(1.0, lowest), *points] if points and 0 < lowest <= points[0][1] else points


def _seconds(value: float | None) -> str:
    return "an unknown time" if value is None else figure(value, "s")


def _beside(mark: Mark, text: str) -> Label:
    """A name left of its dot, where the curve has not risen yet."""
    return Label("name", "end", mark.x - 8, mark.y - 6, text)


def _decades(scale: Scale) -> list[float]:
    """Powers of ten within, exact so that they print so; with fewer than two, twos and fives as well."""
    low, high = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    for steps in ((1.0,), (1.0, 2.0, 5.0)):
        found = [float(f"{step}e{power}") for power in range(low, high + 1) for step in steps]
        within = [at for at in found if scale.low <= at <= scale.high]
        if len(within) > 1:
            return within
    return within or [float(f"{math.sqrt(scale.low * scale.high):.2g}")]


# A ladder of rates


def drawn_ladder(runs: Sequence[Json], operations: Iterable[str]) -> Drawn | None:
    """P99 by what was offered, a line for each operation; None for fewer than two rates that say something."""
    curves = {name: _by_rate(runs, name) for name in operations}
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    points = [point for curve in curves.values() for point in curve]
    if len({x for x, _ in points}) < 2:
        return None
    rates = Scale(min(x for x, _ in points) / 1.2, max(x for x, _ in points) * 1.2)
    times = Scale(min(y for _, y in points) / 1.5, max(y for _, y in points) * 1.5)
    plot = _Plot(rates.at, times.at, _TALL)
    ends = "; ".join(f"{name} from {figure(curve[0][1], 's')} to {figure(curve[-1][1], 's')}" for name, curve in
                     curves.items())  # fmt: skip
    return Drawn(
        f"ladder-{min(run['order'] for run in runs)}", "99th percentile by what was offered", f"{ends}.",
        "Response time of 99 % (up) by operations offered a second (across), both logarithmic; valid runs alone.",
        plot.ticks({at: figure(at, "/s") for at in _decades(rates)}, {at: figure(at, "s") for at in _decades(times)}),
        tuple(Line(name, plot.path(curve)) for name, curve in curves.items()),
        tuple(Mark(plot.x(x), plot.y(y)) for x, y in points),
        tuple(Label("name", "", plot.x(curve[0][0]) + 6, y, name) for curve, y, name in _named(curves, plot)),
        height=_TALL,
    )  # fmt: skip


def _named(curves: Mapping[str, Points], plot: _Plot) -> Iterable[tuple[Points, float, str]]:
    """Where each line begins, and the height of its name: those that begin together stand above each other."""
    above = math.inf
    for name, curve in sorted(curves.items(), key=lambda one: one[1][0][1]):
        above = min(plot.y(curve[0][1]) - 8, above - 17)
        yield curve, max(above, 12.0), name


def _by_rate(runs: Iterable[Json], name: str) -> list[tuple[float, float]]:
    """Offered rate and P99 of an operation, ascending; of a rate that was tried twice, the last try."""
    found = {}
    for run in runs:
        rate = run["workload"]["offered_rate"]
        wait = run["operations"].get(name, {}).get("response", {}).get("quantiles", {}).get("p99")
        if rate and wait and run["validity"]["valid"]:
            found[float(rate)] = float(wait)
    return sorted(found.items())


# What happened when


def drawn_timeline(timeline: Json, *, name: str) -> tuple[Drawn, ...]:
    """Good answers a second, their P99, and failures a second, by the time since the start; () for too short a run."""
    points, length = timeline["points"], timeline["interval_seconds"]
    if len(points) < 2:
        return ()
    at = [point["at_seconds"] for point in points]
    end = at[-1] + length
    rates = [(x, point["ok"] / length) for x, point in zip(at, points, strict=True)]
    errors = [(x, point["errors"] / length) for x, point in zip(at, points, strict=True)]
    waits = [(x, point["p99"]) for x, point in zip(at, points, strict=True)]
    found = [_flat(f"{name}-rate", "Good answers a second", rates, "rate", "/s", end, length),
             _flat(f"{name}-p99", "Response time, 99th percentile", waits, "response", "s", end, length)]  # fmt: skip
    if any(value for _, value in errors):
        found.append(_flat(f"{name}-errors", "Failures a second", errors, "errors", "/s", end, length))
    return tuple(found)


def _flat(name: str, title: str, values: Sequence[tuple[float, float | None]], kind: str, unit: str, end: float,
          length: float) -> Drawn:  # fmt: skip
    """One figure over time as steps, each as long as its stretch; gaps where it is not known."""
    known = [value for _, value in values if value is not None]
    high = round_up(max(known, default=0.0))
    plot = _Plot(_Linear(end).at, _Linear(high).at, _FLAT)
    lines = [Line(kind, plot.path(_steps(stretch, length))) for stretch in _stretches(values)]
    low, most = (figure(value, unit) if value else "0" for value in (min(known, default=0.0), max(known, default=0.0)))
    return Drawn(
        name, title, f"Between {low} and {most} in {len(values)} stretches of {figure(length, 's')}.",
        f"{title} (up) by the seconds since the start (across).",
        plot.ticks({at: f"{at:g} s" for at in _even(end, 6)}, {at: figure(at, unit) if at else "0" for at in
                                                               (0.0, high / 2, high)}),
        tuple(lines), (), (), height=_FLAT,
    )  # fmt: skip


def _stretches(values: Iterable[tuple[float, float | None]]) -> Iterable[Points]:
    found: list[tuple[float, float]] = []
    for x, value in values:
        if value is not None:
            found.append((x, value))
        elif found:
            yield found
            found = []
    if found:
        yield found


def _steps(points: Points, length: float) -> Points:
    corners = [corner for (x, value), (after, _) in pairwise(points) for corner in ((x, value), (after, value))]
    last, value = points[-1]
    return [*corners, (last, value), (last + length, value)]


def round_up(value: float) -> float:
    """The next of 1, 2, 5 and their tenfolds at or above a figure; 1 for zero."""
    if value <= 0:
        return 1.0
    power = math.floor(math.log10(value))
    return next(found for step in _ROUND if (found := float(f"{step}e{power}")) >= value * (1 - 1e-9))


def _even(end: float, most: int) -> list[float]:
    """Round figures from zero up to an end, so many at most."""
    step = round_up(end / most)
    return [number * step for number in range(int(end / step + 1e-9) + 1)]
