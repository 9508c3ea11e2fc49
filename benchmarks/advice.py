"""
Whether following the advice helps: the demo, for each fault that a parameter can mend, with a comparison by turns that
is long enough for a verdict.

Promised is that in nine of ten runs a figure that the fault breached improves by more than 20 %, or throughput does,
and that what was planted is no longer found. P99 and throughput count where the comparison calls them improved; the
share of true neighbours, which no load measures, is that of the demo's two looks.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from outcome import Outcome

from engram_diagnose.demo.clients import clients
from engram_diagnose.demo.outcome import Known
from engram_diagnose.demo.pace import USUAL, Pace
from engram_diagnose.demo.playing import Playing, play
from engram_diagnose.demo.stage import CannotPlayError, scene_of
from engram_diagnose.demo.story import key
from engram_diagnose.demo.telling import Terminal
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.lab.fault import Hidden
from engram_diagnose.lab.faults import FAULTS
from engram_diagnose.lab.single_faults import QUALITY
from engram_diagnose.rulebase import load_rules

NAME = "advice"
SEVERITY, RUN_SECONDS, SPARE = "plain", 1.0, 4
BETTER, SHARE = 0.2, 0.9
MENDABLE: Final = tuple(
    name for name, fault in FAULTS.items()
    if fault.mended_by and len(fault.causes) == 1 and not fault.counters and fault.hidden == Hidden()
)  # fmt: skip


def run(*, quick: bool) -> list[Outcome]:
    """A line for each fault, and the shares of all runs beside what is promised."""
    names = os.environ.get("ADVICE_FAULTS", "").split() or (MENDABLE[:1] if quick else MENDABLE)
    times = int(os.environ.get("ADVICE_TIMES", "1"))
    loaded = load_rules(thorough=False)
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    pace = USUAL if quick else replace(USUAL, runs=policy.least.runs, spare=SPARE, run_seconds=RUN_SECONDS)
    found: list[Outcome] = []
    first, helped, gone = [], [], []
    with tempfile.TemporaryDirectory(prefix="advice-") as folder:
        for name in names:
            for _ in range(times):
                known = _played(name, Path(folder), pace)
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
    noise = "too few runs a side for a verdict" if quick else ""
    shares = {
        "runs with the planted cause first": first,
        "runs in which a breached figure is better by 20 %": helped,
        "runs after which the planted cause is gone": gone,
    }
    found += [Outcome(NAME, what, sum(seen), "all runs", len(seen), "n", floor=SHARE, noise=noise)
              for what, seen in shares.items() if seen]  # fmt: skip
    return found


def _played(name: str, folder: Path, pace: Pace) -> Known | None:
    """What came of one demo; None where this machine cannot play it."""
    told = io.StringIO()
    try:
        return play(
            Playing(Terminal(out=told, err=io.StringIO()), folder, clients), scene_of(FAULTS[name], SEVERITY, pace)
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
    for figure in known.comparison["figures"] if known.comparison else ():
        if figure["verdict"] != "improved" or not figure["before"]:
            continue
        ratio = figure["after"] / figure["before"]
        if figure["on"] == "ops.rate":
            yield ratio - 1
        elif key(figure) in known.fault.breaches:
            yield 1 - ratio
