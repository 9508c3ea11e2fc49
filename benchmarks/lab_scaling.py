"""
What a tuned lab does on this machine, by cores: the most operations a second whose P99 keeps the guide's target, beside
the guide's 10,000 and beside what one core carries.

Clients run on the cores that the lab leaves, the last one at least; on a machine of few cores that bounds the lab.
Nothing is promised here: the guide's reference hardware has 32 cores, and what a small machine reaches is told so.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from outcome import Outcome
from tuned import GUIDE_RATE, most, tuned_lab

from engram_diagnose.rulebase import load_rules

NAME = "lab_scaling"
LOADS: Final = {
    "recalls": {"recall": 1.0},
    "70 % recalls, 30 % stores": {"recall": 0.7, "store": 0.3},
    "activations": {"activation": 1.0},
}
SECONDS: Final = 6.0
"""Of one rate."""


def run(*, quick: bool) -> list[Outcome]:
    """A line for each load and number of cores, with what the next slower rate's P99 was."""
    loaded = load_rules(thorough=False)
    own = len(os.sched_getaffinity(0))
    shapes = [1] if quick else sorted({1, 2, max(1, own - 1)} & set(range(1, max(2, own))))
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="lab-scaling-") as folder:
        for what, mix in LOADS.items() if not quick else [("recalls", LOADS["recalls"])]:
            alone = None
            for cores in shapes:
                with tuned_lab(Path(folder), mix, cores, loaded) as loading:
                    rate, p99 = most(loading, mix, loaded, seconds=1.0 if quick else SECONDS)
                found.append(Outcome(NAME, f"{what} a second on {cores} of {own} cores, P99 {p99 * 1e3:.1f} ms", rate,
                                     "the guide's 10,000 a second", GUIDE_RATE, "n"))  # fmt: skip
                if alone is None:
                    alone = rate
                elif alone:
                    found.append(Outcome(NAME, f"{what} a second on {cores} cores", rate, "one core", alone, "n"))
    return found
