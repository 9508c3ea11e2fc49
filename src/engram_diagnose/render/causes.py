"""
Causes as a reader meets them: how sure, how much, why, what to do.

Views are named tuples: rows of texts, which cost a third of what dataclasses cost to define at every start.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engram_diagnose.render.figures import count, labels, percent, percent_range, places, some, titled, values, worded

Json = Mapping[str, Any]

_WHEN: Final = {"now": "now", "next restart": "at the next restart", "planned": "planned"}
_RESTART: Final = {
    "reload": "a reload is enough",
    "restart": "needs a restart of the server",
    "reindex": "needs the index rebuilt",
    "host": "is set on the host, not in the server",
}
_MOVED: Final[Mapping[str | None, str]] = {
    "stood": "it was so before as well, when nothing that it explains was: it counts less than what moved",
    "moved": "it was not so before",
}
_SINCE: Final[Mapping[str | None, int]] = {"false": 0, "true": 2}
"""Evidence by what it was before: what moved, what nobody knows of, what stood."""
_NAMES_SHOWN: Final = 4
_SIGNS_SHOWN: Final = 3


class Sign(NamedTuple):
    """One piece of evidence in words; `counted` is false where a stronger sign of its group stands in for it."""

    strength: str
    sentence: str
    counted: bool
    note: str = ""


class Signs(NamedTuple):
    """Evidence of one side, the most telling first, and how many more there are."""

    shown: tuple[Sign, ...]
    more: int = 0


class Change(NamedTuple):
    """One setting to change; `write` is its configuration line, empty where it has none."""

    key: str
    before: str
    after: str
    write: str
    note: str

    @property
    def literal(self) -> str:
        """What to write for the value, where that is not what is shown: 1000 for `1 s`."""
        written = self.write.partition(" = ")[2]
        return "" if written.strip('"') == self.after else written

    @property
    def words(self) -> str:
        """`wal.flush_interval_ms: 100 ms -> 1 s (write 1000)`."""
        note = self.note or (f"write {self.literal}" if self.literal else "")
        return f"{self.key}: {self.before} -> {self.after}" + (f" ({note})" if note else "")


class Step(NamedTuple):
    """One recommendation."""

    when: str
    needs: str
    investigate: str
    changes: tuple[Change, ...]
    commands: tuple[str, ...]
    because: str
    tradeoff: str


class Narrowing(NamedTuple):
    """The one measurement that would narrow the confidence most, why it is missing, and how to get it."""

    fact: str
    why: str
    how: str


class CauseView(NamedTuple):
    """
    One concluded cause. `number` is empty for what is not ranked, and ends in `=` for a tie.

    `gist` is what to do in a sentence, `line` all that is told of a `negligible` one. `after` names what has to go
    before a masked cause can be judged. `tie` is said before the first of a tie.
    """

    number: str
    title: str
    rule: str
    severity: str
    probability: str
    confidence: str
    impact: str
    impact_known: bool
    explains: tuple[str, ...]
    why: tuple[str, ...]
    supporting: Signs
    opposing: Signs
    unknown: str
    narrowing: Narrowing | None
    steps: tuple[Step, ...]
    verify: tuple[str, ...]
    reason: str
    false_positives: tuple[str, ...]
    refs: tuple[str, ...]
    gist: str
    line: str
    negligible: bool
    after: tuple[str, ...] = ()
    tie: str = ""
    moved: str = ""


def cause_view(cause: Json, document: Json, number: str = "", *, verbose: bool = False) -> CauseView:
    """A cause of the document in words; `verbose` keeps the signs that count for nothing more."""
    confidence, evidence = cause["confidence"], cause["evidence"]
    steps = steps_of(cause["recommend"])
    opposing = _signs(evidence["against"], verbose=verbose)
    return CauseView(
        number=number,
        title=titled(cause),
        rule=cause["rule"],
        severity=cause["severity"] or "",
        probability=percent(confidence["probability"]),
        confidence=confidence_words(confidence),
        impact=impact_words(cause["impact"]),
        impact_known=cause["impact"]["known"],
        explains=_explained(cause["explains"]),
        why=tuple(map(test_words, cause["gate"])),
        supporting=_signs(evidence["for"], verbose=verbose),
        opposing=opposing,
        unknown=_unknown_words(evidence["unknown"]),
        narrowing=_narrowing(cause["would_narrow"]),
        steps=steps,
        verify=_verifications(cause["recommend"]),
        reason=cause["reason"],
        false_positives=tuple(cause["false_positives"]),
        refs=tuple(cause["refs"]),
        gist=_gist(steps),
        line=_line(cause, opposing),
        negligible=cause.get("negligible", False),
        after=_masking(cause.get("masked_by", ()), document["causes"]),
        moved=_MOVED.get(cause.get("moved"), ""),
    )


def worth_telling(causes: Sequence[Json]) -> list[Json]:
    """The ranked causes that are not negligible; a document of before says so of none."""
    return [cause for cause in causes if not cause.get("negligible", False)]


def confidence_words(confidence: Json) -> str:
    """`likely, 88 % (3 % to over 99 %)`."""
    middle = percent(confidence["probability"])
    interval = percent_range(confidence["low"], confidence["high"])
    return f"{confidence['word']}, {middle}" + (f" ({interval})" if interval != middle else "")


def _line(cause: Json, opposing: Signs) -> str:
    """How unlikely, what speaks against it most, and its rule."""
    against = f"; against: {opposing.shown[0].sentence}" if opposing.shown else ""
    return f"{confidence_words(cause['confidence'])}{against} ({cause['rule']})"


def impact_words(impact: Json) -> str:
    """The share of the breach that a cause explains, with the figures; or why it is not known."""
    on = f"{_base(impact['on'])}{labels(_scope(impact))}" if impact["on"] else ""
    if not impact["known"]:
        return f"unknown: {_impact_lacks(impact)}"
    figures = f"{impact['measured']} against {impact['target']}"
    if impact["high"] == 0:
        return f"none: {on} meets its target, {figures}"
    share = percent_range(impact["low"], impact["high"])
    return f"explains {share} of the breach of {on}: {figures}, of which it would relieve {impact['relief']}"


def _impact_lacks(impact: Json) -> str:
    missing = [f"{item['fact']} ({missing_why(item)})" for item in impact["missing"]]
    return f"needs {some(missing, 2)}" if missing else impact["reason"] or "no reason is given"


def _base(on: str) -> str:
    return on.partition("{")[0]


def _scope(impact: Json) -> dict[str, str]:
    """The labels that the impact's figure is written with, and those it was found at."""
    written = re.findall(r"([^\s{},=]+)=([^,}]*)", impact["on"].partition("{")[2])
    found: Mapping[str, str] = impact["scope"]
    return {**dict(written), **found}


def symptom_figures(symptom: Json) -> str:
    """What was measured against what: the figure and its target where the test compared these, else its sentence."""
    for test in symptom["tests"]:
        known = {reading["name"]: reading["text"] for reading in reversed(test["facts"])}
        for name, text in known.items():
            if f"target.{name}" in known:
                return f"{text} against {known[f'target.{name}']}"
    return test_words(symptom["tests"][0]) if symptom["tests"] else ""


def test_words(test: Json) -> str:
    """The sentence of a test, with the values that it rests on and does not state."""
    sentence = worded(test["sentence"])
    unstated = values(test["facts"], sentence)
    return f"{sentence} ({unstated})" if unstated else sentence


def _explained(heads: Iterable[Json]) -> tuple[str, ...]:
    """Explained symptoms, those of one title together."""
    by_title: dict[str, list[str]] = {}
    for head in heads:
        by_title.setdefault(head["title"], []).append(labels(head["scope"]))
    return tuple(f"{title} {places(scopes)}".strip() for title, scopes in by_title.items())


def _signs(pieces: Sequence[Json], *, verbose: bool) -> Signs:
    """What counts first, of that what moved, the strongest of it first."""
    ordered = sorted(
        pieces, key=lambda piece: (not piece["counted"], _SINCE.get(piece.get("before"), 1), -abs(piece["log_ratio"]))
    )
    signs = [_sign(piece) for piece in ordered if piece["strength"] != "none"]
    shown = signs if verbose else [sign for sign in signs if sign.counted][:_SIGNS_SHOWN]
    return Signs(tuple(shown), len(signs) - len(shown))


def _sign(piece: Json) -> Sign:
    notes = ["by a stand-in for the measurement"] if piece["proxy"] else []
    notes += ["not so before"] if piece.get("before") == "false" else []
    notes += ["so before as well"] if piece.get("before") == "true" else []
    notes += [] if piece["counted"] else ["counts once with a stronger sign of the same"]
    return Sign(piece["strength"], piece_words(piece), piece["counted"], "; ".join(notes))


def piece_words(piece: Json) -> str:
    """The sentence of a piece of evidence, with the values that it rests on and does not state."""
    unstated = values((reading for test in piece["tests"] for reading in test["facts"]), piece["sentence"])
    return worded(piece["sentence"]) + (f" ({unstated})" if unstated else "")


def _unknown_words(pieces: Sequence[Json]) -> str:
    """How many signs could not be judged, and which measurements they lack."""
    if not pieces:
        return ""
    facts = dict.fromkeys(item["fact"] for piece in pieces for item in piece["missing"])
    coarse = [piece["sentence"] for piece in pieces if not piece["missing"]]
    parts = [some(facts, _NAMES_SHOWN)] if facts else []
    parts += [f"too coarse to tell: {some(coarse, 2)}"] if coarse else []
    return f"{count(len(pieces), 'sign')}: {'; '.join(parts)}"


def _narrowing(missing: Json | None) -> Narrowing | None:
    return Narrowing(missing["fact"], missing_why(missing), missing["get_by"]) if missing else None


def missing_why(missing: Json) -> str:
    """Why a fact is missing, with the particular where there is one."""
    return f"{missing['why']}: {missing['detail']}" if missing["detail"] else str(missing["why"])


def steps_of(recommendations: Iterable[Json]) -> tuple[Step, ...]:
    """What can be done now first; what this release cannot do last."""
    order = {when: position for position, when in enumerate(_WHEN)}
    ordered = sorted(recommendations, key=lambda item: (_futile(item), order.get(item["when"], 0)))
    return tuple(_futile_step(item) if _futile(item) else _step(item) for item in ordered)


def _futile(item: Json) -> bool:
    """Whether a recommendation only sets what the server's release ignores."""
    changes = item["changes"]
    return bool(changes) and not item["investigate"] and all(change["ignored_by_release"] for change in changes)


def _futile_step(item: Json) -> Step:
    return Step("not with this release of the server", "", "", tuple(map(_change, item["changes"])), (), "", "")


def _step(item: Json) -> Step:
    changes = tuple(map(_change, item["changes"]))
    restarts = dict.fromkeys(_RESTART.get(change["restart"], change["restart"]) for change in item["changes"]
                             if not change["ignored_by_release"])  # fmt: skip
    return Step(_WHEN.get(item["when"], item["when"]) or "now", ", ".join(restarts), item["investigate"] or "", changes,
                tuple(item["commands"]), item["because"] or "", item["tradeoff"] or "")  # fmt: skip


def _gist(steps: Sequence[Step]) -> str:
    """The changes; where there are none, what to look into."""
    changes = [change.words for step in steps for change in step.changes]
    return some(changes or [step.investigate for step in steps], 3 if changes else 1)


def _change(change: Json) -> Change:
    ignored = "ignored by this release" if change["ignored_by_release"] else ""
    write = change["write"] or ""
    return Change(change["key"] or change["parameter"], change["from"], change["to"], write, ignored)


def _verifications(recommendations: Iterable[Json]) -> tuple[str, ...]:
    """What to look for after the changes, each once."""
    found = []
    for verify in (item["verify"] for item in recommendations if item["verify"] and not _futile(item)):
        found.append(f"after {verify['after']}: {'; '.join(map(_wish, verify['expect']))}")
    return tuple(dict.fromkeys(found))


def _wish(wish: Json) -> str:
    return worded(wish["sentence"]) + (f" (now {wish['now']})" if wish["now"] else "")


def _masking(ids: Iterable[str], causes: Iterable[Json]) -> tuple[str, ...]:
    titles = {cause["rule"]: cause["title"] for cause in causes}
    return tuple(f"{titles[rule]} ({rule})" if rule in titles else rule for rule in ids)
