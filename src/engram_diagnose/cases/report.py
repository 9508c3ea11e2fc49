"""
Scores as a document, as text and as Markdown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from engram_diagnose.cases.judging import Judged
from engram_diagnose.cases.proportion import Proportion
from engram_diagnose.cases.scoring import (
    Bin,
    Brier,
    Limits,
    Miss,
    Score,
    by_family,
    by_host,
    by_severity,
    score,
)
from engram_diagnose.cases.split import place_of
from engram_diagnose.engine.facts.scales import Scales

SCHEMA: Final = "engram-diagnose/case-scores/v1"
Json = Mapping[str, Any]
SIDES: Final = ("train", "held-out", "all")
PLACES: Final = ("train", "new family", "new host", "new family and host")


def score_document(cases: Sequence[Judged], limits: Limits, scales: Scales, *, corpus: str) -> dict[str, Any]:
    """Scores of all cases, of those held out and of the others, each by family, severity and host shape."""
    share = limits["held_out"]
    placed = {place: [one for one in cases if place_of(one.label, share=share) == place] for place in PLACES}
    held_out = [one for one in cases if place_of(one.label, share=share) != "train"]
    sides = {"train": placed["train"], "held-out": held_out, "all": list(cases)}
    return {
        "schema": SCHEMA,
        "corpus": f"sha256:{corpus}",
        "confidence": scales.calibration.told if scales.calibration else "uncalibrated",
        "limits": {name: limits[name] for name in ("held_out", "top", "healthy_most", "sure", "bins")},
        "sides": {side: _side(group, limits) for side, group in sides.items()},
        "places": {place: _entry(score(group, limits)) for place, group in placed.items() if group},
    }


def _side(cases: Iterable[Judged], limits: Limits) -> dict[str, Any]:
    group = list(cases)
    split = {"families": by_family, "severities": by_severity, "hosts": by_host}
    parts = {name: {key: _entry(score(part, limits)) for key, part in divided(group).items()}
             for name, divided in split.items()}  # fmt: skip
    whole = score(group, limits)
    detail = {"curve": [_bin(one) for one in whole.curve], "brier": _brier(whole.brier),
              "misses": [_miss(one) for one in whole.misses]}  # fmt: skip
    return {**_entry(whole), **detail, **parts}


_SHARES: Final = ("first", "among_first", "both", "quiet", "admitted", "called_healthy", "false_sure")


def _entry(found: Score) -> dict[str, Any]:
    shares = {name: _proportion(getattr(found, name)) for name in _SHARES}
    return {"cases": found.cases, **shares, "brier_score": None if found.brier is None else round(found.brier.score, 4)}


def _proportion(found: Proportion) -> dict[str, Any]:
    low, high = found.interval
    share = None if found.share is None else round(found.share, 4)
    return {"part": found.part, "whole": found.whole, "share": share, "low": round(low, 4), "high": round(high, 4)}


def _bin(one: Bin) -> dict[str, Any]:
    return {"low": one.low, "high": one.high, "said": round(one.said, 4), "right": _proportion(one.right)}


def _brier(found: Brier | None) -> dict[str, Any] | None:
    if found is None:
        return None
    names = ("score", "reliability", "resolution", "uncertainty", "within")
    return {name: round(getattr(found, name), 5) for name in names} | {"count": found.count}


def _miss(one: Miss) -> dict[str, Any]:
    return {"case": one.case, "planted": list(one.planted), "fate": one.fate, "first": list(one.first)}


# Text and Markdown


def score_text(document: Json, *, markdown: bool = False) -> str:
    """The scores of a document for people, 80 columns wide where it is not Markdown."""
    lines = ["# Scores on labelled cases" if markdown else "SCORES ON LABELLED CASES", ""]
    lines += [f"Confidences are {_confidence(document)}. Intervals hold 95 of 100 times (Wilson)."]
    for side in SIDES:
        entry = document["sides"][side]
        if entry["cases"] and not (side == "all" and entry["cases"] == document["sides"]["train"]["cases"]):
            lines += ["", *_side_lines(side, entry, document["limits"], markdown)]
    return "\n".join(lines) + "\n"


def _confidence(document: Json) -> str:
    told = document["confidence"]
    return "the designers' (uncalibrated)" if told == "uncalibrated" else str(told)


_TITLES: Final = {
    "train": "Train: what authors of rules and fits may look at",
    "held-out": "Held out: fault families and host shapes that they may not",
    "all": "All cases",
}


def _side_lines(side: str, entry: Json, limits: Json, markdown: bool) -> list[str]:
    heading = f"{_TITLES[side]}: {entry['cases']} cases"
    lines = [f"## {heading}" if markdown else heading.upper(), ""]
    rows = [[label, _counts(entry[name]), _interval(entry[name])] for name, label in _labels(limits)]
    lines += _table(["", "share", "95 %"], [row for row in rows if row[1] != "-"], markdown)
    if side == "all":
        return lines
    lines += ["", *_families(entry, markdown), "", *_curve(entry, markdown)]
    return lines + _misses(entry, markdown)


def _labels(limits: Json) -> list[tuple[str, str]]:
    top, most, sure = round(limits["top"]), f"{limits['healthy_most']:.0%}", f"{limits['sure']:.0%}"
    return [
        ("first", "planted fault ranked first"),
        ("among_first", f"planted fault among the first {top}"),
        ("both", f"two faults: both among the first {top}"),
        ("quiet", f"healthy: no cause above {most}"),
        ("admitted", "cannot be seen: not testable, or found"),
        ("called_healthy", "wrong, and called healthy (should be 0)"),
        ("false_sure", f"causes above {sure} that are wrong"),
    ]


def _counts(share: Json) -> str:
    return f"{share['part']}/{share['whole']} = {share['share']:.0%}" if share["whole"] else "-"


def _interval(share: Json) -> str:
    return f"{share['low']:.0%} to {share['high']:.0%}" if share["whole"] else "-"


def _families(entry: Json, markdown: bool) -> list[str]:
    rows = []
    for family, found in entry["families"].items():
        rows.append([family, str(found["cases"]), _counts(found["first"]), _counts(found["among_first"]),
                     _counts(found["quiet"])])  # fmt: skip
    return _table(["family", "cases", "first", "among first", "quiet"], rows, markdown)


def _curve(entry: Json, markdown: bool) -> list[str]:
    brier = entry["brier"]
    if brier is None:
        return ["Nothing was concluded, so confidences cannot be judged."]
    rows = [[f"{one['low']:.0%} to {one['high']:.0%}", f"{one['said']:.0%}", _counts(one["right"]),
             _interval(one["right"])] for one in entry["curve"]]  # fmt: skip
    lines = _table(["confidence", "said", "right", "95 %"], rows, markdown)
    return [*lines, "", f"Brier {brier['score']:.3f} over {brier['count']} conclusions = reliability "
            f"{brier['reliability']:.3f} - resolution {brier['resolution']:.3f}", f"+ uncertainty "
            f"{brier['uncertainty']:.3f} + within bins {brier['within']:.3f}"]  # fmt: skip


def _misses(entry: Json, markdown: bool) -> list[str]:
    if not entry["misses"]:
        return []
    lines = ["", "### Wrong" if markdown else "Wrong:"]
    for miss in entry["misses"]:
        planted = f" {', '.join(miss['planted'])}" if miss["planted"] else ""
        bullet = "- " if markdown else "  "
        lines.append(f"{bullet}{miss['case']}:{planted} {miss['fate']}")
        lines += [f"{'  ' if markdown else '    '}first: {', '.join(miss['first']) or 'no cause'}"]
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> list[str]:
    if markdown:
        body = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
        return body
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)]  # fmt: skip
