"""
A fit as a file that the engine reads: `rules/catalogue/calibration.yaml`, or a site's own laid over it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from engram_diagnose.cases.corpus import Case, corpus_digest
from engram_diagnose.cases.fitting import Fit
from engram_diagnose.cases.judging import Judged
from engram_diagnose.cases.scoring import Score
from engram_diagnose.cases.split import SALT
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import rule_digests

SCHEMA: Final = "engram-diagnose/calibration/v1"
_PLACES: Final = 4

_HEAD: Final = """\
# What labelled cases made of the designers' figures in inference.yaml, as `engram-diagnose cases fit` wrote it:
#     logit(stated) = intercept + slope * logit(weighed)
# It holds for these figures alone; under others it is left out, with a warning.
"""


def calibration_text(fit: Fit, cases: Iterable[Case], loaded: Loaded, *, date: str) -> str:
    """The file of a fit on these cases, made on a day (ISO): the same for the same cases, rules and day."""
    listed = list(cases)
    document = {
        "schema": SCHEMA,
        "fit": {
            "intercept": round(fit.line.intercept, _PLACES),
            "slope": round(fit.line.slope, _PLACES),
            "figures": loaded.scales.figures,
            "cases": len(fit.train),
            "source": " and ".join(sorted({case.label.source for case in listed})),
            "date": date,
            "provenance": _provenance(fit, listed, loaded),
        },
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=118)
    return _HEAD + text.replace(f"'{date}'", date)


def _provenance(fit: Fit, cases: list[Case], loaded: Loaded) -> Mapping[str, Any]:
    return {
        "corpus": f"sha256:{corpus_digest(cases)}",
        "lab": sorted({case.label.version for case in cases if case.label.version}),
        "rules": {name: dict(pack) for name, pack in rule_digests(loaded).items()},
        "split": SALT,
        "train": _side(fit.train, fit.before[0], fit.after[0]),
        "held_out": _side(fit.held_out, fit.before[1], fit.after[1]),
    }


def _side(cases: Iterable[Judged], before: Score, after: Score) -> Mapping[str, Any]:
    listed = list(cases)
    return {
        "cases": len(listed),
        "families": sorted({name for one in listed for name in one.label.families}),
        "hosts": sorted({one.label.host.shape for one in listed}),
        "conclusions": 0 if before.brier is None else before.brier.count,
        "before": _figures(before),
        "after": _figures(after),
    }


def _figures(score: Score) -> Mapping[str, Any]:
    brier = score.brier
    sure = score.false_sure
    return {
        "brier": None if brier is None else round(brier.score, _PLACES),
        "reliability": None if brier is None else round(brier.reliability, _PLACES),
        "sure_and_wrong": f"{sure.part} of {sure.whole}",
        "healthy_quiet": f"{score.quiet.part} of {score.quiet.whole}",
    }
