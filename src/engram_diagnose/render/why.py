"""
Why a rule was concluded, with the arithmetic; and why another was not.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from engram_diagnose.render.causes import confidence_words, impact_words, missing_why, piece_words, test_words
from engram_diagnose.render.figures import (
    calibration_words,
    count,
    named,
    percent,
    percent_range,
    reading_words,
    titled,
    worded,
)
from engram_diagnose.render.how import render_how
from engram_diagnose.render.layout import Page, Span
from engram_diagnose.render.named import NotInDiagnosisError, facts_of, nothing_found, rule_not_found, rules_of
from engram_diagnose.render.neutral import clean
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]

_GUTTER: Final = 12
_OUTCOMES: Final = {"ruled_out": "ruled out", "symptoms_met": "not there", "not_applicable": "does not apply here"}

__all__ = ["NotInDiagnosisError", "explain", "render_why", "render_why_not"]


def explain(document: Json, name: str, *, console_width: int = 80, color: bool = False) -> str:
    """
    Why a rule came out as it did, or how a fact came to its value, whichever `name` is.

    Raises `NotInDiagnosisError`, with what may have been meant, for a name the diagnosis says nothing of.
    """
    name = name.strip()
    if name in rules_of(document):
        return render_why(document, name, console_width=console_width, color=color)
    if name.partition("{")[0].strip() in facts_of(document):
        return render_how(document, name, console_width=console_width, color=color)
    raise nothing_found(document, name)


def render_why(document: Json, rule_id: str, *, console_width: int = 80, color: bool = False) -> str:
    """
    Why a rule came out as it did, in every scope: what was concluded first, with the arithmetic behind its figures.

    Raises `NotInDiagnosisError` for a rule the diagnosis says nothing of.
    """
    page = Page(console_width, _GUTTER)
    writer = _Writer(clean(document), page)
    writer.concluded(rule_id)
    writer.others(rule_id)
    writer.override(rule_id)
    if not page.lines:
        raise rule_not_found(document, rule_id)
    return coloured_text(page.lines) if color else plain_text(page.lines)


def render_why_not(document: Json, rule_id: str, *, console_width: int = 80, color: bool = False) -> str:
    """
    Why a rule was not concluded, in every scope where it was not; says so where it was.

    Raises `NotInDiagnosisError` for a rule the diagnosis says nothing of.
    """
    page = Page(console_width, _GUTTER)
    writer = _Writer(clean(document), page)
    writer.masked(rule_id)
    writer.others(rule_id)
    if not page.lines:
        writer.concluded(rule_id)
    writer.override(rule_id)
    if not page.lines:
        raise rule_not_found(document, rule_id)
    return coloured_text(page.lines) if color else plain_text(page.lines)


class _Writer:
    def __init__(self, document: Json, page: Page) -> None:
        self._document = document
        self._page = page

    def concluded(self, rule: str) -> None:
        """What a rule concluded."""
        for cause in self._found(("causes", "masked", "experimental"), rule):
            self._cause(cause)
        for symptom in self._found(("symptoms",), rule):
            self._symptom(symptom)
        for derived in self._found(("derived",), rule):
            self._derivation(derived)

    def masked(self, rule: str) -> None:
        """Where a rule's conclusion is not relied on."""
        for cause in self._found(("masked",), rule):
            self._heading(cause, _masking(cause))
            self._field("confidence", confidence_words(cause["confidence"]))
            self._field("gate", *map(test_words, cause["gate"]))

    def others(self, rule: str) -> None:
        """Where a rule concluded nothing, and why."""
        for item in self._found(("suppressed",), rule):
            accepted = f"found, and accepted by the site until {item['expires']}: {item['reason']} ({item['owner']})"
            self._outcome(item, accepted)
        for key, words in _OUTCOMES.items():
            for item in self._found((key,), rule):
                self._outcome(item, words)
        for item in self._found(("not_testable", "symptoms_not_tested"), rule):
            self._untested(item)
        self._underived(rule)

    def override(self, rule: str) -> None:
        """What a pack changed about the rule."""
        how = self._document["rule_base"]["overrides"].get(rule)
        if how:
            self._page.blank()
            self._page.put((f"{rule} is overridden", "title"))
            self._field("override", how)

    def _found(self, keys: Iterable[str], rule: str) -> list[Json]:
        return [item for key in keys for item in self._document[key] if item["rule"] == rule]

    def _field(self, label: str, *texts: str) -> None:
        self._page.field((label, "label"), [[(text, "")] for text in texts if text])

    def _heading(self, item: Json, words: str) -> None:
        self._page.blank()
        self._page.put((titled(item), "title"))
        self._field("rule", f"{item['rule']} rev {item['rev']}, pack {item['pack']}")
        self._field("outcome", words)

    # Causes

    def _cause(self, cause: Json) -> None:
        self._heading(cause, _concluded(cause))
        self._field("status", f"{cause['status']}, owner {cause['owner'] or 'not stated'}")
        self._field("reason", cause["reason"])
        self._tests("gate", cause["gate"])
        self._page.field(("confidence", "label"), _arithmetic(cause, self._document["rule_base"]))
        self._impact(cause)
        self._field("explains", *(titled(head) for head in cause["explains"]))
        self._field("unless", *cause["false_positives"])
        self._field("sources", *cause["refs"])

    def _tests(self, label: str, tests: Sequence[Json]) -> None:
        self._page.field((label, "label"), [line for test in tests for line in _test(test)])

    def _impact(self, cause: Json) -> None:
        impact = cause["impact"]
        breach = f"|{impact['measured']} - {impact['target']}|"
        share = percent_range(impact["low"], impact["high"])
        quotient = f"relief / breach = {impact['relief']} / {breach} = {share}"
        self._field("impact", impact_words(impact), quotient if impact["known"] and impact["high"] > 0 else "")
        if cause["rank"]:
            middle = (impact["low"] + impact["high"]) / 2
            confidence = cause["confidence"]
            weighed = confidence.get("before_calibration")
            share = confidence["probability"] if weighed is None else weighed
            what = "confidence" if weighed is None else "confidence before the fit"
            factors = f"{share:.3f} x {middle:.3f} x {cause.get('weight', 1.0):.3f}"
            product = f"{what} x impact x weight = {factors} = {cause['score']:.3f}"
            self._field("order", product if cause["severity"] else f"behind what misses a target; {product}")

    # Symptoms and derivations

    def _symptom(self, symptom: Json) -> None:
        by = ", ".join(dict.fromkeys(symptom["explained_by"])) or "no cause that was concluded"
        self._heading(symptom, f"found, {symptom['severity']}; explained by {by}")
        self._field("reason", symptom["reason"])
        self._tests("gate", symptom["tests"])

    def _derivation(self, item: Json) -> None:
        self._heading(item, "; ".join(f"{name} is {text}" for name, text in item["values"].items()))
        self._field("by", item["why"])
        self._field("from", *map(reading_words, item["inputs"]))

    def _underived(self, rule: str) -> None:
        for fact in self._document["facts"]:
            if fact["source"] == f"rule {rule}" and fact["unknown"]:
                self._page.blank()
                self._page.put((f"{named(fact)} is unknown", "title"))
                self._field("rule", rule)
                self._field("because", missing_why(fact["unknown"]))
                self._field("get it by", fact["unknown"]["get_by"])

    # What was not concluded

    def _outcome(self, item: Json, words: str) -> None:
        self._heading(item, words)
        self._field("because", *map(worded, item["because"]))

    def _untested(self, item: Json) -> None:
        missing = item["missing"]
        lacks = f"{count(len(missing), 'fact')} missing" if missing else "what is known is too coarse to tell"
        self._heading(item, f"not testable: {lacks}")
        self._field("missing", *map(_missing_words, missing))


def _concluded(cause: Json) -> str:
    if "masked_by" in cause:
        return f"concluded; {_masking(cause)}"
    tied = "; tied with another" if cause["tie"] is not None else ""
    return f"concluded, rank {cause['rank']}{tied}" if cause["rank"] else "concluded, not ranked"


def _masking(cause: Json) -> str:
    return f"masked by {', '.join(cause['masked_by'])}: test again once that is gone"


def _missing_words(missing: Json) -> str:
    how = f"; get it by: {missing['get_by']}" if missing["get_by"] else ""
    return f"{missing['fact']}: {missing_why(missing)}{how}"


def _test(test: Json) -> list[Sequence[Span]]:
    """A test with its sentence, and every value it read with its source."""
    lines: list[Sequence[Span]] = [[(f"{test['truth']}: ", "title"), (worded(test["sentence"]), "")]]
    lines.append([(f"  {test['text']}", "dim")])
    return lines + [[(f"  {reading_words(reading)}", "dim")] for reading in test["facts"]]


# The arithmetic of confidence


def _arithmetic(cause: Json, rule_base: Json) -> list[Sequence[Span]]:
    """From the prior over each likelihood ratio to the confidence; what is unknown with what it could do."""
    confidence = cause["confidence"]
    weakened = ", one step less as it rests on a stand-in" if confidence["prior_weakened_by_proxy"] else ""
    odds = confidence["prior"] / (1 - confidence["prior"])
    lines = [_line(percent(confidence["prior"]), f"when the gate is true{weakened}")]
    for piece in (*cause["evidence"]["for"], *cause["evidence"]["against"]):
        odds *= math.exp(piece["log_ratio"]) if piece["counted"] else 1.0
        lines.append(_counted(piece, percent(odds / (1 + odds))))
    lines += [_line("unknown", f"{_room(piece)}: {piece_words(piece)}") for piece in cause["evidence"]["unknown"]]
    weighed = confidence.get("before_calibration")
    if weighed is not None:
        told = f"is what {percent(weighed)} came to in labelled cases"
        lines.append(_line(percent(confidence["probability"]), told))
    words = ", ".join(filter(None, (confidence_words(confidence), calibration_words(rule_base))))
    return [*lines, _line("in all", words)]


def _counted(piece: Json, after: str) -> Sequence[Span]:
    proxy = ", by a stand-in" if piece["proxy"] else ""
    words = f"{piece['strength']}{proxy}: {piece_words(piece)}"
    if not piece["counted"]:
        return _line("-", f"{words}; a stronger sign of the same counts")
    return _line(_ratio(piece["log_ratio"]), f"{words}; makes {after}")


def _room(piece: Json) -> str:
    return f"{_ratio(piece['log_ratio_high'])} or {_ratio(piece['log_ratio_low'])}"


def _ratio(log_ratio: float) -> str:
    """A likelihood ratio as what is done to the odds: `x 5`, `/ 20`."""
    return f"{'/' if log_ratio < 0 else 'x'} {math.exp(abs(log_ratio)):.3g}"


def _line(figure: str, words: str) -> Sequence[Span]:
    return [(f"{figure:<9}", "title"), (words, "")]
