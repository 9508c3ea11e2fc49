"""
Nodes into a calibration: what labelled cases made of the designers' figures, with where that comes from.

The file says `fit: none yet`, or

    fit:
      intercept: -0.2
      slope: 0.8
      figures: "possible 0.3, likely 0.6, …"     # those of inference.yaml that it was fitted on
      cases: 84
      source: lab
      date: 2026-11-22
      provenance: {…}                            # digests, versions and scores: for readers, not for the engine
"""

import re
from collections.abc import Iterable
from typing import Final

from engram_diagnose.engine.facts.scales import Calibration, Scales
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.source import Mapping, Scalar

NONE_YET: Final = "none yet"
_NEEDED: Final = ("intercept", "slope", "figures", "cases", "source", "date", "provenance")
_LARGEST: Final = 100
"""Of log-odds: exp(100) has no meaning any more as odds."""
_SIGNED: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def read_calibration(roots: Iterable[Mapping], scales: Scales, problems: Problems) -> Calibration | None:
    """
    The calibration of the last file, for a site's own stands in place of the shipped one; None where it has none.

    One that was fitted on other figures than `scales` has is warned of and left out: it says nothing of these.
    """
    found: Calibration | None = None
    for root in roots:
        found = _calibration(Fields(root, "the file", problems), scales)
    return found


def _calibration(fields: Fields, scales: Scales) -> Calibration | None:
    fields.only(("schema", "fit"))
    fields.need("fit")
    node = fields.node.values.get("fit")
    if node is None or (isinstance(node, Scalar) and node.text == NONE_YET):
        return None
    if isinstance(node, Scalar):
        fields.problems.error(node.mark, f"fit is {NONE_YET!r} or a mapping, not {node.text!r}", length=len(node.text))
        return None
    mapping = fields.mapping("fit")
    return None if mapping is None else _fit(Fields(mapping, "fit", fields.problems), scales)


def _fit(fields: Fields, scales: Scales) -> Calibration | None:
    fields.only(_NEEDED)
    fields.need(*_NEEDED)
    fields.mapping("provenance")
    figures = fields.text("figures")
    intercept, slope = _number(fields, "intercept"), _number(fields, "slope")
    cases, source, date = fields.integer("cases", 0), fields.text("source"), fields.date("date")
    if slope is not None and slope <= 0:
        fields.problems.error(fields.mark("slope"), "slope is more than 0, or likely causes would become unlikely ones",
                              length=len("slope"))  # fmt: skip
    if "cases" in fields and cases < 1:
        fields.problems.error(fields.mark("cases"), "cases is 1 or more", length=len("cases"))
    if figures and figures != scales.figures:
        fields.problems.warning(
            fields.mark("figures"),
            "the calibration was fitted on other figures than those in force, and is left out",
            hint=f"fit it again with `engram-diagnose cases fit`; in force are: {scales.figures}",
            length=len("figures"),
        )
        return None
    if intercept is None or slope is None or slope <= 0:
        return None
    return Calibration(intercept, slope, cases, source, date)


def _number(fields: Fields, key: str) -> float | None:
    node = fields.scalar(key)
    if node is None:
        return None
    if node.quoted or not _SIGNED.fullmatch(node.text) or abs(float(node.text)) > _LARGEST:
        fields.problems.error(node.mark, f"{key} lies between -{_LARGEST} and {_LARGEST}, unlike {node.text!r}",
                              length=len(node.text))  # fmt: skip
        return None
    return float(node.text)
