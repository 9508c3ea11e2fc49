#!/usr/bin/env python3
"""
Puts what was measured of the lab into the page on performance baselines.

    python benchmarks/baselines.py REPORT.json ... [--play] > docs/reference/measured-on-the-lab.json

Reports are those of `engram-diagnose bench --format json`; of each figure the last that is given counts. With `--play`
a tuned lab is loaded besides, for some minutes, with what `bench` does not ask for: activations, pattern completions,
and the mixed load by cores; what the server and its host tell meanwhile are the figures that only they have. Afterwards
`engram-diagnose rules docs docs/reference` writes the page.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tuned import MEMORIES, most, tuned_lab

from engram_diagnose.bench.document import ReportError, read_report
from engram_diagnose.collectors.parse.client_load import COLLECTOR
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.reference.measured_baselines import entries_of_facts, measured_document
from engram_diagnose.rulebase import load_rules
from engram_diagnose.session import diagnose_bundle

_MIXED: Final = {"recall": 0.7, "store": 0.3}
_OTHERS: Final = ("op.latency.p50", "op.latency.p95", "op.latency.p99", "op.latency.p999")
_PLAYED: Final = {
    "activations": ({"activation": 1.0}, (*_OTHERS, "activation.cache_hit_ratio")),
    "pattern completions": ({"pattern_completion": 1.0}, _OTHERS),
    "operations, 70 % recalls": (_MIXED, ("data.overhead", "cpu.busy", "mem.used_share", "disk.iops",
                                          "index.coverage")),
}  # fmt: skip
"""Loads that are played, and the figures that are taken of each; clients beside it use no network."""
_RATE_SECONDS, _LOOK_SECONDS, _OF_MOST = 4.0, 20.0, 0.7
"""Of each rate while the most is found; of the look; and at which share of the most: the guide's bound on CPU use."""


def main(arguments: Sequence[str]) -> int:
    """Print the document; 2 for a report that cannot be read."""
    names = [one for one in arguments if one != "--play"]
    if not names:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        reports = [read_report(name, Path(name).read_bytes()) for name in names]
    except (OSError, ReportError) as error:
        print(error, file=sys.stderr)
        return 2
    loads = list(dict.fromkeys(f"{_memories(one):,} memories, {one['tool']}" for one in reports))
    others = list(_played()) if "--play" in arguments else []
    if others:
        loads.append(f"what the server alone tells, {MEMORIES:,} at the beginning, on the cores that its clients leave")
    print(json.dumps(measured_document(reports, what="; ".join(loads), host=_host(), others=others), indent=2))
    return 0


def _played() -> Iterator[dict[str, Any]]:
    loaded = load_rules(thorough=False)
    cores = max(1, len(os.sched_getaffinity(0)) - 1)
    with tempfile.TemporaryDirectory(prefix="lab-figures-") as folder:
        for what, (mix, wanted) in _PLAYED.items():
            with tuned_lab(Path(folder), mix, cores, loaded) as loading:
                rate, _ = most(loading, mix, loaded, seconds=_RATE_SECONDS)
                if not rate:
                    print(f"{what}: the slowest rate misses its target here; left out", file=sys.stderr)
                    continue
                _, bundle = loading.watched(rate * _OF_MOST, _LOOK_SECONDS, told=what)
            server = replace(bundle, answers=tuple(one for one in bundle.answers if one.collector != COLLECTOR))
            memory = diagnose_bundle(server, expert(loaded)).memory  # with what the rules derive
            facts = [one for name in wanted for one in memory.at(name).values()]
            yield from entries_of_facts(facts, loaded.catalogue.targets, note=f"{rate * _OF_MOST:,.0f} {what} a second")
            if mix == _MIXED:
                yield from _scaling(Path(folder), loaded, cores, rate)


def _scaling(folder: Path, loaded: Loaded, cores: int, rate: float) -> Iterator[dict[str, Any]]:
    """By how much the most of all cores exceeds that of one, a core."""
    if cores == 1:
        return
    with tuned_lab(folder, _MIXED, 1, loaded) as loading:
        alone, _ = most(loading, _MIXED, loaded, seconds=_RATE_SECONDS)
    if alone:
        yield {"on": "scaling.efficiency", "scope": {}, "value": round(rate / alone / cores, 3),
               "note": f"{cores} cores beside one, which serves HTTP as well"}  # fmt: skip


def _memories(report: dict[str, Any]) -> int:
    """How many there were while latencies were measured, else at the end."""
    runs = report["benchmark"]["runs"]
    mixed = [run for run in runs if run["workload"]["name"] == "mixed"]
    return max(run["workload"]["dataset"]["memories"] for run in mixed or runs)


def _host() -> str:
    """The CPU and how many of it; no name of a machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPUs of an {' '.join(model.split())}, clients and server together"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
