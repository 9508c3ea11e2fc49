"""
A comparison in words: what text and Markdown both show, in the order in which it is read.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from engram_diagnose.render.figures import count, instant, labels
from engram_diagnose.render.neutral import clean

Json = Mapping[str, Any]
_LABELS: Final = {"no change": "NO CHANGE", "not comparable": "NOT COMPARABLE"}
_STATES: Final = ("worse", "improved", "no change", "inconclusive", "not comparable")
_UNITS: Final = {"runs": "run", "windows": "window"}


class Row(NamedTuple):
    """One figure; `predicted` is empty where nobody predicted, `limit` where no rule bounds it."""

    verdict: str
    name: str
    before: str
    after: str
    change: str
    interval: str
    note: str
    predicted: str
    limit: str


class Measure(NamedTuple):
    """One measure of the load."""

    name: str
    before: str
    after: str
    state: str


class Told(NamedTuple):
    """Everything a comparison says."""

    label: str
    state: str
    sentence: str
    counts: str
    load: str
    measures: tuple[Measure, ...]
    sides: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    interval: str
    also: tuple[str, ...]
    patch: tuple[str, ...]
    next: tuple[str, ...]


def told(document: Json) -> Told:
    """The view of a comparison's document."""
    document = clean(document)
    verdict = document["verdict"]
    return Told(
        label=_label(document),
        state=verdict["state"],
        sentence=verdict["sentence"],
        counts=_counts(document),
        load=document["load"]["sentence"],
        measures=tuple(map(_measure, document["load"]["measures"])),
        sides=tuple(f"{name} {_side(document[name])}" for name in ("before", "after")),
        notes=tuple(note for name in ("before", "after") for note in document[name]["notes"]),
        rows=tuple(_rows(document)),
        interval=_interval(document["confidence"]["each"], document["confidence"]["together"]),
        also=tuple(_also(item) for item in document["also_changed"]),
        patch=tuple(_patch(document["application"])),
        next=tuple(document["next"]),
    )


def _label(document: Json) -> str:
    state = document["verdict"]["state"]
    return "PROVISIONAL" if document.get("provisional") else _LABELS.get(state, state.upper())


def _counts(document: Json) -> str:
    if document["kind"] == "baseline":
        states = [item["state"] for item in document["regressions"]]
        order = dict.fromkeys(("regressed", "held", "inconclusive", "not comparable"))
        return ", ".join(f"{states.count(state)} {state}" for state in order if state in states)
    found = document["verdict"]["counts"]
    return ", ".join(f"{found[state]} {state}" for state in _STATES if found[state])


def _measure(one: Json) -> Measure:
    name = f"{one['name']} ({one['fact'] or ' or '.join(one['wanted'])})"
    words = {"comparable": f"within {one['tolerance_text']}", "different": f"more than {one['tolerance_text']} apart"}
    return Measure(name, one["before_text"], one["after_text"], words.get(one["state"]) or str(one["state"]))


def _side(side: Json) -> str:
    unit = _UNITS[side["form"]]
    each = f" of {side['window_seconds']:g} s" if side["window_seconds"] else ""
    out = f", {count(side['left_out'], 'run')} left out as not valid" if side["left_out"] else ""
    when = f"{instant(side['start'])} to {instant(side['end'])}"
    return f"{', '.join(side['sources'])}: {count(side['samples'], unit)}{each}, {when}{out}"


def _interval(each: float, together: float) -> str:
    return f"intervals at {each * 100:.4g} % each, {together * 100:g} % all together"


def _rows(document: Json) -> Iterable[Row]:
    held = document["regressions"] or [None] * len(document["figures"])
    pairs = list(zip(document["figures"], held, strict=True))
    if document["kind"] != "baseline":
        pairs.sort(key=lambda pair: _STATES.index(pair[0]["verdict"]))
    for figure, rule in pairs:
        yield _row(figure, rule)


def _row(figure: Json, rule: Json | None) -> Row:
    change = figure["change_text"]
    predicted = figure["predicted"]
    return Row(
        verdict=rule["state"] if rule else figure["verdict"],
        name=f"{figure['on']}{labels(figure['scope'])}",
        before=figure["before_text"],
        after=figure["after_text"],
        change=change,
        interval=figure["interval_text"] or "",
        note=_note(figure, rule),
        predicted=f"predicted {predicted['text']} ({predicted['rule']}): {predicted['outcome']}" if predicted else "",
        limit=_limit(rule) if rule else "",
    )


def _note(figure: Json, rule: Json | None) -> str:
    note = (rule["note"] if rule else "") or figure["note"]
    needed = figure["needed"]
    unit = "sample"
    return f"{note}; {count(needed, unit)} more on each side would tell" if needed and note else note


def _limit(rule: Json) -> str:
    sense = {"rise": "may rise by", "fall": "may fall by", "below": "at least", "above": "at most"}[rule["sense"]]
    return f"{sense} {rule['limit_text']}: {rule['bound_text']} ({rule['rule']})"


def _also(item: Json) -> str:
    if item["what"].startswith("restart"):
        return f"{item['what']} at {instant(item['after'])}"
    return f"{item['what']}: {item['before'] or 'not set'}, then {item['after'] or 'not set'}"


def _patch(application: Json | None) -> Iterable[str]:
    if application is None:
        return
    recorded = "; what came of it is in the ledger" if application["recorded"] else ""
    yield f"applied {instant(application['at'])} to {application['file']}{recorded}"
    for change in application["changes"]:
        yield f"{change['key'] or change['parameter']}: {change['before'] or 'not set'}, then {change['after']}"
