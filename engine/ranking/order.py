"""
Which cause comes first, which are a tie, and which are shown elsewhere.
"""

from collections.abc import Sequence
from dataclasses import replace

from engram_diagnose.engine.facts.scales import UNLIKELY, Scales, Weights
from engram_diagnose.engine.ranking.cause import Cause, Masked
from engram_diagnose.engine.ranking.change import Moved
from engram_diagnose.engine.ranking.impact import Breach


def sort_out(
    causes: Sequence[Cause], scales: Scales
) -> tuple[tuple[Cause, ...], tuple[Cause, ...], tuple[Masked, ...]]:
    """Ranked causes; experimental ones apart; masked ones apart."""
    ranked = sorted(causes, key=_order)
    maskers = _maskers(ranked, scales.certainty["likely"])
    masked = [Masked(cause, tuple(sorted({ranked[n].rule.id for n in by})))
              for cause, by in zip(ranked, maskers, strict=True) if by]  # fmt: skip
    plain = [cause for cause, by in zip(ranked, maskers, strict=True) if not by]
    experimental = tuple(cause for cause in plain if cause.rule.status == "experimental")
    shown = _with_ties([cause for cause in plain if cause.rule.status != "experimental"], scales.tie_margin)
    return (
        _with_negligible(shown, scales),
        experimental,
        tuple(masked),
    )


def _order(cause: Cause) -> tuple[object, ...]:
    """Those that explain a symptom first, each by what is probably lost to it."""
    return (not cause.severity, -cause.score, cause.rule.id, cause.scope)


def weight(severity: str, moved: Moved, breach: Breach, weights: Weights) -> float:
    """
    What a missed target counts for: by the worst symptom, by how far it is missed, and less for a cause that stood.

    How far is told by the target that the impact is on.
    """
    found = weights.severity.get(severity, 1.0) * weights.missed(breach.times)
    return found * weights.stood if moved == "stood" else found


def _maskers(causes: Sequence[Cause], likely: float) -> list[set[int]]:
    """
    For each cause, the positions of those that mask it: likely ones that are not experimental nor masked themselves.

    What masks what is settled from the causes that nothing masks on; loading refuses rules that mask in a circle.
    """
    sure = [n for n, cause in enumerate(causes)
            if cause.confidence.weighed >= likely and cause.rule.status != "experimental"]  # fmt: skip
    may = [{n for n in sure if cause.rule.id in causes[n].rule.masks and _may_mask(causes[n], cause)}
           for cause in causes]  # fmt: skip
    settled: dict[int, set[int]] = {}
    waiting = list(range(len(causes)))
    while waiting:
        ready = [n for n in waiting if may[n] <= settled.keys()] or waiting
        settled |= {n: {other for other in may[n] if not settled.get(other)} for n in ready}
        waiting = [n for n in waiting if n not in settled]
    return [settled[n] for n in range(len(causes))]


def _may_mask(masker: Cause, cause: Cause) -> bool:
    """
    Whether one may be what the other only looks like.

    Not one that was there while all was well, when the other was not: it looked like nothing else then.
    """
    told_apart = masker.moved == "stood" and cause.moved == "moved"
    return not told_apart and masker.scope.touches(cause.scope)


def _with_ties(causes: Sequence[Cause], margin: float) -> tuple[Cause, ...]:
    """Number neighbours that cannot be told apart: scores within the margin, intervals that meet."""
    found: list[Cause] = []
    tie = 0
    for cause in causes:
        before = found[-1] if found else None
        if before is not None and _tied(before, cause, margin):
            tie = before.tie or tie + 1
            found[-1] = _numbered(before, tie)
            cause = _numbered(cause, tie)
        found.append(cause)
    return tuple(found)


def _tied(a: Cause, b: Cause, margin: float) -> bool:
    near = bool(a.severity) == bool(b.severity) and abs(a.score - b.score) < margin
    return near and a.confidence.low <= b.confidence.high and b.confidence.low <= a.confidence.high


def _numbered(cause: Cause, tie: int) -> Cause:
    return replace(cause, tie=tie)


def _with_negligible(causes: Sequence[Cause], scales: Scales) -> tuple[Cause, ...]:
    """
    Mark those that are unlikely even if all that is unknown spoke for them.

    Never the first, which is the answer whatever it is worth, nor one that is tied with a likelier one.
    """
    likelier = {_place(number, cause) for number, cause in enumerate(causes)
                if number == 0 or scales.word(cause.confidence.high) != UNLIKELY}  # fmt: skip
    return tuple(cause if _place(number, cause) in likelier else replace(cause, negligible=True)
                 for number, cause in enumerate(causes))  # fmt: skip


def _place(number: int, cause: Cause) -> tuple[str, int]:
    """What those of a tie share."""
    return ("alone", number) if cause.tie is None else ("tie", cause.tie)
