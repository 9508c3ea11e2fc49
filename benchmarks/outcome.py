"""
What a benchmark found: figures beside a yardstick of the same run, as a table for people and JSON for machines.
"""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from measure import Timing

Unit = Literal["s", "B", "n"]
SCALES: Final[dict[Unit, tuple[tuple[float, str], ...]]] = {
    "s": ((1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")),
    "B": ((1e9, " GB"), (1e6, " MB"), (1e3, " kB")),
    "n": ((1.0, ""),),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    One line: `figure` of `what`, beside `yardstick` of `against`, in `unit` (seconds, bytes, a count).

    What is promised: the ratio of the two is at most `bar` and at least `floor`, the figure itself at most `limit`;
    None where nothing is. `quartiles` are those of the repetitions, empty for what was taken once. What `noise` says,
    a clause, is why nothing can be said of a promise now. The ratio is `paired_ratio`, where pairs were timed, instead
    of the quotient of the medians.
    """

    benchmark: str
    what: str
    figure: float
    against: str = ""
    yardstick: float | None = None
    unit: Unit = "s"
    bar: float | None = None
    limit: float | None = None
    floor: float | None = None
    noise: str = ""
    quartiles: tuple[float, ...] = ()
    yardstick_quartiles: tuple[float, ...] = ()
    repetitions: int = 1
    paired_ratio: float | None = None
    ratio: float | None = field(init=False)
    met: bool | None = field(init=False)

    def __post_init__(self) -> None:
        quotient = None if self.yardstick is None else self.figure / self.yardstick
        ratio = quotient if self.paired_ratio is None else self.paired_ratio
        kept = [] if self.bar is None or ratio is None else [ratio <= self.bar]
        kept += [] if self.floor is None or ratio is None else [ratio >= self.floor]
        kept += [] if self.limit is None else [self.figure <= self.limit]
        object.__setattr__(self, "ratio", ratio)
        object.__setattr__(self, "met", all(kept) if kept and not self.noise else None)


def compared(
    benchmark: str,
    what: str,
    ours: Timing,
    against: str,
    theirs: Timing,
    *,
    bar: float | None = None,
    limit: float | None = None,
) -> Outcome:
    """The line of two sides that were timed in turns."""
    return Outcome(
        benchmark, what, ours.median, against, theirs.median, "s", bar, limit,
        quartiles=(ours.low, ours.high), yardstick_quartiles=(theirs.low, theirs.high), repetitions=ours.count,
    )  # fmt: skip


def alone(benchmark: str, what: str, ours: Timing) -> Outcome:
    """The line of a side that nothing stands beside."""
    return Outcome(benchmark, what, ours.median, quartiles=(ours.low, ours.high), repetitions=ours.count)


def as_json(outcomes: Iterable[Outcome]) -> str:
    """Every line, and what it was taken on."""
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpu": platform.machine()}
    lines = [asdict(outcome) for outcome in outcomes]
    return json.dumps({"schema": "engram-diagnose/benchmark/v1", "machine": machine, "outcomes": lines}, indent=2)


def as_table(outcomes: Sequence[Outcome]) -> str:
    """The lines in columns."""
    head = ("benchmark", "what", "figure", "quartiles", "against", "", "ratio", "promised", "")
    rows = [head, *(_cells(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    unit = outcome.unit
    return (
        outcome.benchmark,
        outcome.what,
        shown(outcome.figure, unit),
        "..".join(shown(figure, unit) for figure in outcome.quartiles),
        outcome.against,
        "" if outcome.yardstick is None else shown(outcome.yardstick, unit),
        "" if outcome.ratio is None else f"{outcome.ratio:.3f}",
        _promised(outcome),
        outcome.noise or {True: "met", False: "MISSED", None: ""}[outcome.met],
    )


def _promised(outcome: Outcome) -> str:
    bar = [] if outcome.floor is None else [f"ratio >= {outcome.floor:.4g}"]
    bar += [] if outcome.bar is None else [f"ratio <= {outcome.bar:.4g}"]
    limit = [] if outcome.limit is None else [f"<= {shown(outcome.limit, outcome.unit)}"]
    return ", ".join(bar + limit)


def shown(figure: float, unit: Unit) -> str:
    """A figure in the largest unit that leaves it at one or more."""
    scales = SCALES[unit]
    scale, symbol = next((entry for entry in scales if abs(figure) >= entry[0]), scales[-1])
    return f"{figure / scale:.3g}{symbol}"
