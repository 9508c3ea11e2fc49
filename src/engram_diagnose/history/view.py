"""
The ledger for people and programs: each patch, what was predicted, and what was found.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.facts.unit import NUMBER, UNITS, Unit, format_value
from engram_diagnose.history.ledger import Ledger
from engram_diagnose.render.figures import count, instant, labels
from engram_diagnose.render.layout import Page
from engram_diagnose.render.neutral import clean
from engram_diagnose.render.style import coloured_text, plain_text

Json = dict[str, Any]

_GUTTER: Final = 12
_STYLES: Final = {"improved": "good", "worse": "critical", "applied": "good", "rolled back": "warning"}
_NOT_YET: Final = "not verified yet"


def history_document(ledger: Ledger, instance: str = "", *, catalogue: Catalogue | None = None) -> Json:
    """
    The ledger as a document, of one instance or of all, newest first; values in base units, and in words beside them.

    With the `catalogue` settings are in the unit that their file has them in, and figures that nobody predicted in
    theirs. `unassigned` are findings that belong to no patch. Raises `LedgerError`.
    """
    view = _View(catalogue)
    found = ledger.realised(instance=instance)
    applications = ledger.applications(instance)
    known = {application.id for application in applications}
    return {
        "instance": instance,
        "applications": [
            view.application(one, [item for item in found if item.application == one.id])
            for one in reversed(applications)
        ],
        "unassigned": [view.figure(None, item) for item in reversed(found) if item.application not in known],
    }


class _View:
    def __init__(self, catalogue: Catalogue | None) -> None:
        self._catalogue = catalogue

    def application(self, application: Application, found: list[Realised]) -> Json:
        latest = {(item.on, item.scope, item.rule): item for item in found}
        figures = []
        for prediction in application.predictions:
            figures.append(
                self.figure(prediction, latest.pop((prediction.on, prediction.scope, prediction.rule), None))
            )
        return {
            "id": application.id,
            "at": iso(application.at),
            "instance": application.instance,
            "file": application.file,
            "state": application.state,
            "dialect": application.dialect,
            "base": application.base,
            "result": application.result,
            "changes": [self._change(change, application.dialect) for change in application.changes],
            "figures": [*figures, *(self.figure(None, item) for item in latest.values())],
        }

    def _change(self, change: KeyChange, dialect: str) -> Json:
        before, after = (self._setting(value, change, dialect) for value in (change.before, change.after))
        return {
            "parameter": change.parameter,
            "key": change.key,
            "before": _plain(change.before),
            "after": _plain(change.after),
            "text": f"{before} -> {after}",
            "rule": change.rule,
        }

    def _setting(self, value: Value | None, change: KeyChange, dialect: str) -> str:
        if value is None:
            return "not set"
        if isinstance(value, str):
            return f'"{value}"'
        catalogue = self._catalogue
        parameter = catalogue.parameters.get(change.parameter) if catalogue else None
        if parameter is not None and parameter.kind == "bool":
            return "true" if value[0] else "false"
        known = catalogue.dialects.get(dialect) if catalogue else None
        key = known.keys.get(change.parameter) if known else None
        unit = key.unit if key else parameter.unit if parameter else Unit("", NUMBER)
        symbol = "" if unit.dimension == NUMBER else f" {unit.symbol}"
        return f"{value[0] / unit.factor:,.10g}{symbol}"

    def figure(self, prediction: Prediction | None, item: Realised | None) -> Json:
        """One figure, predicted, found, or both."""
        one = prediction or item
        if one is None:
            raise ValueError("a figure was predicted or found")
        predicted, before = _predicted(prediction, item), _before(prediction, item)
        return {
            "on": one.on,
            "scope": dict(one.scope.labels),
            "rule": one.rule,
            "before": _finite(before),
            "predicted": predicted and [_finite(end) for end in predicted],
            "at": iso(item.at) if item else None,
            "after": _finite(item.after) if item else None,
            "change": _change(item),
            "verdict": item.verdict if item else None,
            "text": _story(before, predicted, item, self._unit(prediction, one.on)),
        }

    def _unit(self, prediction: Prediction | None, name: str) -> Unit:
        if prediction is not None:
            return UNITS.get(prediction.unit) or Unit(prediction.unit, NUMBER)
        spec = self._catalogue.spec(name) if self._catalogue else None
        return spec.unit if spec else UNITS[""]


def _plain(value: Value | None) -> Any:
    if value is None or isinstance(value, str):
        return value
    return _finite(value[0]) if value[0] == value[1] else [_finite(end) for end in value]


def _change(item: Realised | None) -> list[float | None] | None:
    if item is None or item.low is None or item.high is None:
        return None
    return [_finite(item.low), _finite(item.high)]


def _finite(figure: float | None) -> float | None:
    """JSON has no infinity."""
    return figure if figure is not None and math.isfinite(figure) else None


def _predicted(prediction: Prediction | None, item: Realised | None) -> list[float] | None:
    if prediction is not None:
        return [prediction.low, prediction.high]
    if item is None or item.predicted_low is None or item.predicted_high is None:
        return None
    return [item.predicted_low, item.predicted_high]


def _before(prediction: Prediction | None, item: Realised | None) -> float | None:
    if item is not None:
        return item.before
    return prediction.measured if prediction else None


def _story(before: float | None, predicted: list[float] | None, item: Realised | None, unit: Unit) -> str:
    """`before 93 ms; predicted 4 ms to 20 ms; found 12 ms: improved`"""
    parts = ["before unknown" if before is None else f"before {format_value(before, unit)}"]
    if predicted is None:
        parts.append("nothing predicted")
    else:
        least, most = (format_value(figure, unit) for figure in predicted)
        parts.append(f"predicted {least if least == most else f'{least} to {most}'}")
    if item is None:
        return "; ".join([*parts, _NOT_YET])
    found = "after unknown" if item.after is None else f"found {format_value(item.after, unit)}"
    return "; ".join([*parts, f"{found}: {item.verdict}"])


# Text


def history_text(document: Mapping[str, Any], *, columns: int = 80, color: bool = False) -> str:
    """A history document as text; no line is wider than `columns`, and nothing in it acts on the terminal."""
    shown = clean(document)
    page = Page(columns, _GUTTER)
    if not (shown["applications"] or shown["unassigned"]):
        _empty(page, shown["instance"])
    for application in shown["applications"]:
        _application(page, application)
    if shown["unassigned"]:
        page.blank()
        page.put(("VERIFIED WITHOUT A PATCH", "heading"))
        _figures(page, shown["unassigned"])
    return coloured_text(page.lines) if color else plain_text(page.lines)


def _empty(page: Page, instance: str) -> None:
    page.put((f"The history is empty{f' for {instance}' if instance else ''}.", "title"))
    page.blank()
    page.put(("`engram-diagnose tune --apply` enters each patch that it puts in place, and `engram-diagnose verify` "
              "what came of it.", ""))  # fmt: skip


def _application(page: Page, application: Mapping[str, Any]) -> None:
    page.blank()
    state = application["state"]
    page.put((instant(application["at"]), "title"), ("  ", ""), (state, _STYLES.get(state, "open")), hang=2)
    page.field(("file", "label"), [[(application["file"], "")]])
    if application["instance"]:
        page.field(("instance", "label"), [[(application["instance"], "")]])
    keys = [[(f"{change['key']}: {change['text']}", ""), (f"  ({change['rule']})", "dim")]
            for change in application["changes"]]  # fmt: skip
    page.field((count(len(keys), "key"), "label"), keys or [[("which keys is not known", "dim")]])
    _figures(page, application["figures"])


def _figures(page: Page, figures: Iterable[Mapping[str, Any]]) -> None:
    told = [[(f"{figure['on']}{labels(figure['scope'])}: {figure['text']}", _STYLES.get(figure["verdict"] or "", ""))]
            for figure in figures]  # fmt: skip
    page.field(("effect", "label"), told or [[("nothing was predicted", "dim")]])
