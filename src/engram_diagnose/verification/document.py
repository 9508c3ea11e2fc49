"""
A comparison as a document: what every format is rendered from; `rules/schema/verification-v1.json` is its schema.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from engram_diagnose.engine.advice.record import VERDICTS, Application, KeyChange
from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.engine.comparison.load import Load, Measured
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.facts.unit import UNITS, Unit, format_value
from engram_diagnose.verification.comparing import Compared, Comparison
from engram_diagnose.verification.next_steps import next_steps
from engram_diagnose.verification.predictions import outcome_of
from engram_diagnose.verification.side import Key, Side

SCHEMA: Final = "engram-diagnose/verification/v1"
Json = dict[str, Any]
_POINTS: Final = frozenset({"share", "%"})
_UNTOLD: Final = 100_000
"""Per cent beyond which an interval's end tells nothing but that it is far."""
_LOADS: Final = {
    "comparable": "the load was comparable",
    "heavier": "the load was heavier after",
    "lighter": "the load was lighter after",
    "different": "the load was another",
    "unknown": "the load is not known well enough",
}


def document(found: Comparison, catalogue: Catalogue, *, recorded: bool = False) -> Json:
    """The comparison as one JSON document; `recorded` tells that the ledger has it."""
    figures = [figure_entry(one, catalogue) for one in found.figures]
    return {
        "schema": SCHEMA,
        "kind": "verify",
        "verdict": {"state": found.verdict, "sentence": _sentence(found, catalogue),
                    "counts": counts(one.effect.verdict for one in found.figures)},
        "before": side_entry(found.before),
        "after": side_entry(found.after),
        "load": load_entry(found.load, catalogue),
        "confidence": {"together": found.confidence, "each": round(found.level, 9)},
        "figures": figures,
        "regressions": [],
        "also_changed": also_entries(found),
        "application": _application(found.application, catalogue, recorded=recorded),
        "next": list(next_steps(found)),
    }  # fmt: skip


def counts(verdicts: Iterable[str]) -> Json:
    """How many figures have each verdict."""
    listed = list(verdicts)
    return {verdict: listed.count(verdict) for verdict in VERDICTS}


def _sentence(found: Comparison, catalogue: Catalogue) -> str:
    """The verdict with the figure that shows it best."""
    telling = [one for one in found.figures if one.effect.verdict == found.verdict and one.effect.change is not None]
    if not telling:
        return (
            f"{_LOADS[found.load.state]}: nothing can be said of the change" if found.figures else "nothing to compare"
        )
    best = max(telling, key=lambda one: _size(one.effect))
    text = figure_entry(best, catalogue)
    values = f"{best.key} {text['before_text']} before, {text['after_text']} after"
    return {
        "improved": values,
        "worse": values,
        "no change": "nothing changed by as much as counts",
        "inconclusive": "what was measured does not tell a change from noise",
        "not comparable": f"{_LOADS[found.load.state]}, which may be the whole difference",
    }[found.verdict]


def _size(effect: Effect) -> float:
    return abs(effect.change or 0.0) / effect.least if effect.least else 0.0


# Sides and load


def side_entry(side: Side) -> Json:
    """One side: where it came from, when, and how much of it there is."""
    forms = {samples.form for samples in side.figures.values()}
    return {
        "kind": side.kind,
        "sources": list(side.sources),
        "instance": side.instance,
        "start": iso(side.start),
        "end": iso(side.end),
        "form": "runs" if forms == {"runs"} else "windows",
        "samples": side.samples,
        "window_seconds": side.window or None,
        "left_out": side.left_out,
        "notes": list(side.notes),
    }


def load_entry(load: Load, catalogue: Catalogue) -> Json:
    """The load, measure by measure."""
    sentence = "the operator says that the load was comparable" if load.assumed else _LOADS[load.state]
    return {
        "state": load.state,
        "assumed": load.assumed,
        "sentence": sentence,
        "measures": [_measure(one, catalogue) for one in load.measures],
    }


def _measure(one: Measured, catalogue: Catalogue) -> Json:
    unit = unit_of(one.on or one.measure.facts[0], catalogue)
    tolerance = one.measure.tolerance
    allowed = format_value(tolerance, unit) if one.measure.absolute else f"{tolerance:.0%}".replace("%", " %")
    return {
        "name": one.measure.name,
        "fact": one.on or None,
        "state": one.state,
        "before": one.before,
        "after": one.after,
        "before_text": _text(one.before, unit),
        "after_text": _text(one.after, unit),
        "tolerance_text": allowed.replace(" %", " points") if one.measure.absolute else allowed,
        "wanted": list(one.measure.facts),
    }


def also_entries(found: Comparison) -> list[Json]:
    """What else changed; a restart's instant is written as one."""
    return [{"what": one.what, "before": one.before,
             "after": iso(float(one.after)) if one.what.startswith("restart") else one.after}
            for one in found.also]  # fmt: skip


# Figures


def unit_of(on: str, catalogue: Catalogue) -> Unit:
    """The unit of a fact."""
    spec = catalogue.facts.get(on)
    return spec.unit if spec else UNITS[""]


def figure_entry(one: Compared, catalogue: Catalogue) -> Json:
    """One figure: before, after, change and its interval, in base units and in words."""
    effect, unit = one.effect, unit_of(one.key.on, catalogue)
    return {
        **key_entry(one.key, unit),
        "better": one.figure.better,
        "verdict": effect.verdict,
        "before": effect.before,
        "after": effect.after,
        "change": effect.change,
        "low": effect.low,
        "high": effect.high,
        "least": effect.least,
        "before_text": _text(effect.before, unit),
        "after_text": _text(effect.after, unit),
        "change_text": _text_of_change(effect, unit),
        "interval_text": _interval(effect, unit),
        "least_text": format_value(effect.least, unit),
        "p": effect.p,
        "samples": {"before": one.before, "after": one.after},
        "needed": effect.needed,
        "note": effect.note,
        "predicted": _prediction(one, unit),
    }


def key_entry(key: Key, unit: Unit) -> Json:
    """The name, the scope and the unit of a figure."""
    return {"on": key.on, "scope": dict(key.scope.labels), "unit": unit.symbol}


def _text(value: float | None, unit: Unit) -> str:
    return "unknown" if value is None else format_value(value, unit)


def _text_of_change(effect: Effect, unit: Unit) -> str:
    return "" if effect.change is None else _signed(effect.change, effect.before, unit)


def _interval(effect: Effect, unit: Unit) -> str | None:
    if effect.low is None or effect.high is None:
        return None
    low, high = (_signed(end, effect.before, unit) for end in (effect.low, effect.high))
    return f"{low} to {high}"


def _signed(change: float, before: float | None, unit: Unit) -> str:
    """A change as a share of the figure before; of a share in points, and of nothing in its unit."""
    if unit.symbol in _POINTS:
        return f"{_rounded(change * 100)} points"
    if before:
        return f"{_rounded(change / abs(before) * 100)} %"
    return f"{'-' if change < 0 else '+'}{format_value(abs(change), unit)}"


def _rounded(figure: float) -> str:
    """
    With a sign, one digit behind the point below ten; what is beyond all measure, so. Only what is gone fell by 100.
    """
    if abs(figure) > _UNTOLD:
        return f"over {'+' if figure > 0 else '-'}{_UNTOLD:,}"
    if -100 < figure < -99:
        return f"{max(figure, -99.9):+.1f}"
    return f"{figure:+.1f}" if abs(figure) < 9.95 else f"{figure:+,.0f}"


def _prediction(one: Compared, unit: Unit) -> Json | None:
    predicted = one.predicted
    if predicted is None:
        return None
    ends = [format_value(end, unit) for end in (predicted.low, predicted.high)]
    return {
        "rule": predicted.rule,
        "low": predicted.low,
        "high": predicted.high,
        "text": ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}",
        "outcome": outcome_of(predicted, one.effect),
    }


def _application(application: Application | None, catalogue: Catalogue, *, recorded: bool) -> Json | None:
    if application is None:
        return None
    return {
        "id": application.id,
        "at": iso(application.at),
        "file": application.file,
        "changes": _changes(application.changes, catalogue),
        "recorded": recorded,
    }


def _changes(changes: Sequence[KeyChange], catalogue: Catalogue) -> list[Json]:
    return [{"parameter": change.parameter, "key": change.key,
             "before": "" if change.before is None else fact_text(change.before, catalogue.spec(change.parameter)),
             "after": fact_text(change.after, catalogue.spec(change.parameter))} for change in changes]  # fmt: skip
