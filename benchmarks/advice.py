"""
Whether following the advice helps: the demo, for each fault that a parameter can mend, and what clients felt before and
after.

Promised is that in nine of ten runs a figure that the fault breached improves by more than 20 %, or throughput does,
and that what was planted is no longer found. P99 and throughput are medians of the demo's own runs by turns, three a
side; the share of true neighbours is that of its two looks.
"""

import io
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from outcome import Outcome

from engram_diagnose.bench.verdict import total_rate
from engram_diagnose.demo.clients import clients
from engram_diagnose.demo.outcome import Known
from engram_diagnose.demo.pace import USUAL
from engram_diagnose.demo.playing import Playing, play
from engram_diagnose.demo.stage import CannotPlayError, scene_of
from engram_diagnose.demo.telling import Terminal
from engram_diagnose.lab.fault import Hidden
from engram_diagnose.lab.faults import FAULTS
from engram_diagnose.lab.single_faults import QUALITY

NAME = "advice"
RUNS, SEVERITY = 1, "plain"
"""How often each fault is played."""
BETTER, SHARE = 0.2, 0.9
MENDABLE: Final = tuple(
    name for name, fault in FAULTS.items()
    if fault.mended_by and len(fault.causes) == 1 and not fault.counters and fault.hidden == Hidden()
)  # fmt: skip


def run(*, quick: bool) -> list[Outcome]:
    """A line for each fault, and the shares of all runs beside what is promised."""
    names = os.environ.get("ADVICE_FAULTS", "").split() or (MENDABLE[:1] if quick else MENDABLE)
    found: list[Outcome] = []
    first, helped, gone = [], [], []
    with tempfile.TemporaryDirectory(prefix="advice-") as folder:
        for name in names:
            for _ in range(RUNS):
                known = _played(name, Path(folder))
                if known is None:
                    found.append(Outcome(NAME, f"{name}: could not be played here", 0.0, unit="n"))
                    continue
                gain = improvement(known)
                first.append(known.named_first)
                helped.append(gain > BETTER)
                gone.append(known.gone is True)
                told = f"{name}: {_told(known)}, better by"
                found.append(Outcome(NAME, told, gain, unit="n"))
                print(f"{told} {gain:.0%}", file=sys.stderr, flush=True)
    shares = {
        "runs with the planted cause first": first,
        "runs in which a breached figure is better by 20 %": helped,
        "runs after which the planted cause is gone": gone,
    }
    found += [Outcome(NAME, what, sum(seen), "all runs", len(seen), "n", floor=SHARE)
              for what, seen in shares.items() if seen]  # fmt: skip
    return found


def _played(name: str, folder: Path) -> Known | None:
    """What came of one demo; None where this machine cannot play it."""
    told = io.StringIO()
    try:
        return play(
            Playing(Terminal(out=told, err=io.StringIO()), folder, clients), scene_of(FAULTS[name], SEVERITY, USUAL)
        )
    except CannotPlayError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return None


def _told(known: Known) -> str:
    named = "named first" if known.named_first else f"{known.first or 'nothing'} first"
    return f"{named}, {'changed' if known.applied else 'nothing changed'}, {'gone' if known.gone else 'not gone'}"


def improvement(known: Known) -> float:
    """By how much the figure that improved most of those breached is better, throughput included; 0 where none is."""
    return max([0.0, *_gains(known)])


def _gains(known: Known) -> Iterator[float]:
    before, after = known.felt.get(QUALITY), known.felt_after.get(QUALITY)
    if before and after:
        yield after / before - 1
    sides = {side: [run for run in known.runs if run["side"] == side] for side in ("before", "after")}
    if not all(sides.values()):
        return
    rates = {side: statistics.median(map(total_rate, runs)) for side, runs in sides.items()}
    if rates["before"]:
        yield rates["after"] / rates["before"] - 1
    for figure in known.fault.breaches:
        quantile, _, operation = figure.removeprefix("op.latency.").partition("{operation=")
        both = {side: _median(runs, operation.rstrip("}"), quantile) for side, runs in sides.items()}
        if both["before"] and both["after"]:
            yield 1 - both["after"] / both["before"]


def _median(runs: Sequence[Mapping[str, Any]], operation: str, quantile: str) -> float | None:
    values = [one["operations"].get(operation, {}).get("response", {}).get("quantiles", {}).get(quantile)
              for one in runs]  # fmt: skip
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
