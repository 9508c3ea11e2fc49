"""
A folder of labelled cases, diagnosed under the rules in force.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from engram_diagnose.cases.corpus import Case, cases_in
from engram_diagnose.cases.judging import Judged, judge
from engram_diagnose.cases.label import LabelError
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.rulebase import load_rules

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """Cases with their diagnoses, the rule base behind these, and the limits that scores go by."""

    cases: tuple[Case, ...]
    judged: tuple[Judged, ...]
    ready: Expert
    limits: dict[str, float]


def diagnosed(folder: Path, packs: Iterable[Path], *, progress: Say) -> Diagnosed:
    """
    Diagnose every case of a folder; a bundle that cannot be read ends it, for a score without it would be another.

    Raises `NoCasesError`, `LabelError` and `BundleError`, each with what to do, and `RuleBaseError`.
    """
    loaded = load_rules(packs, thorough=False)
    ready, cases = expert(loaded), cases_in(folder)
    found = []
    for number, case in enumerate(cases, 1):
        progress(f"diagnosing {number} of {len(cases)}: {case.label.name}")
        found.append(judge(known(case, ready), ready))
    return Diagnosed(tuple(cases), tuple(found), ready, read_limits(loaded.texts, "cases"))


def known(case: Case, ready: Expert) -> Case:
    """
    The case, with causes that the rule base has.

    Raises `LabelError` for one of which no rule is left: it could be told by none.
    """
    rules = ready.loaded.rules.rules
    for names in case.label.causes:
        missing = [name for name in names if name not in rules]
        if len(missing) == len(names):
            hint = did_you_mean(missing[0], rules) or "engram-diagnose rules list --kind cause"
            raise LabelError(f"{case.label.name}: there is no rule {' nor '.join(missing)} that could name its cause; "
                             f"{hint}")  # fmt: skip
    kept = tuple(tuple(name for name in names if name in rules) for names in case.label.causes)
    return case if kept == case.label.causes else replace(case, label=replace(case.label, causes=kept))
