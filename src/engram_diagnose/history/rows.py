"""
Entries of the ledger as rows of the database and back, without losing a bit.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.scope import Scope, scope_of

Cell = str | bytes | float | int | None
Row = tuple[Cell, ...]


def application_row(application: Application) -> Row:
    """All but the id, the state, the changes and the predictions."""
    texts = (application.instance, application.file, application.base, application.result, application.dialect)
    return (_figure(application.at), *map(_text, texts), _text(application.patch))


def application_of(row: Sequence[Any], changes: Sequence[KeyChange], predictions: Sequence[Prediction]) -> Application:
    """From `id, at, instance, file, base, result, dialect, patch, state`."""
    number, at, *texts, state = row
    instance, file, base, result, dialect, patch = map(_text_of, texts)
    return Application(at, instance, file, base, result, dialect, tuple(changes), tuple(predictions), state, patch,
                       number)  # fmt: skip


def change_row(change: KeyChange) -> Row:
    """`parameter, key, before, after, rule`"""
    before = None if change.before is None else _value(change.before)
    return _text(change.parameter), _text(change.key), before, _value(change.after), _text(change.rule)


def change_of(row: Sequence[Any]) -> KeyChange:
    """The inverse of `change_row`."""
    parameter, key, before, after, rule = row
    known = None if before is None else _value_of(before)
    return KeyChange(_text_of(parameter), _text_of(key), known, _value_of(after), _text_of(rule))


def prediction_row(item: Prediction) -> Row:
    """`figure, scope, unit, better, measured, low, high, rule`"""
    figures = map(_figure, (item.measured, item.low, item.high))
    return (_text(item.on), _scope(item.scope), _text(item.unit), _text(item.better), *figures, _text(item.rule))


def prediction_of(row: Sequence[Any]) -> Prediction:
    """The inverse of `prediction_row`."""
    on, scope, unit, better, *figures, rule = row
    measured, low, high = (_figure(float(figure)) for figure in figures)
    return Prediction(_text_of(on), _scope_of(scope), _text_of(unit), _better(better), measured, low, high,
                      _text_of(rule))  # fmt: skip


def realised_row(item: Realised) -> Row:
    """`application, at, instance, figure, scope, rule, verdict`, and the six figures in the order of `Realised`."""
    figures = (item.before, item.after, item.low, item.high, item.predicted_low, item.predicted_high)
    known = (None if figure is None else _figure(figure) for figure in figures)
    texts = (_text(item.instance), _text(item.on), _scope(item.scope), _text(item.rule), item.verdict)
    return (item.application or None, _figure(item.at), *texts, *known)


def realised_of(row: Sequence[Any]) -> Realised:
    """The inverse of `realised_row`."""
    application, at, instance, on, scope, rule, verdict, *figures = row
    return Realised(application or 0, at, _text_of(instance), _text_of(on), _scope_of(scope), _text_of(rule), verdict,
                    *figures)  # fmt: skip


def _better(cell: object) -> str:
    if cell not in ("lower", "higher"):
        raise ValueError(f"{cell!r} is neither lower nor higher")
    return str(cell)


def _figure(value: float) -> float:
    """SQLite would keep NaN as NULL, which means unknown here."""
    if math.isnan(value):
        raise ValueError("NaN is no figure to keep")
    return value


def _text(value: str) -> str | bytes:
    """A text, also of a file whose name is not UTF-8: that is kept as its bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def _text_of(cell: str | bytes) -> str:
    """Raises `TypeError` for what is no text: a row may come from a patch that somebody edited."""
    if not isinstance(cell, str | bytes):
        raise TypeError(f"{cell!r} is no text")
    return cell if isinstance(cell, str) else cell.decode("utf-8", "surrogatepass")


def _value(value: Value) -> str:
    if not isinstance(value, str):
        value = tuple(map(_figure, value))  # type: ignore[assignment]
    return json.dumps(value)


def _value_of(cell: str) -> Value:
    value = json.loads(cell)
    return value if isinstance(value, str) else (float(value[0]), float(value[1]))


def _scope(scope: Scope) -> str:
    return json.dumps(dict(sorted(scope.labels)), separators=(",", ":"))


def _scope_of(cell: str) -> Scope:
    return scope_of(json.loads(cell))
