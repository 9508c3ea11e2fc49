"""
Why an expression gave nothing: the metric is not there, it ended, or there was too little of it.
"""

from engram_diagnose.collectors.prometheus.evaluate import Evaluator
from engram_diagnose.collectors.prometheus.expression import Expression, Selector, selectors_in
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.engine.facts.fact import Reason

Absence = tuple[Reason, str]


def why_empty(evaluator: Evaluator, expression: Expression, time_ms: int) -> Absence:
    """The reason, and the metric it concerns. A metric that is not there is named before one that ended."""
    selectors = list(selectors_in(expression))
    for explain in (_why_absent, _why_stale, _why_too_few):
        for selector in selectors:
            absence = explain(evaluator, selector, time_ms)
            if absence is not None:
                return absence
    return Reason.SOURCE_ABSENT, "no label set has all that the expression joins"


def _why_absent(evaluator: Evaluator, selector: Selector, _: int) -> Absence | None:
    if not evaluator.store.named(selector.name) and selector.name not in evaluator.store.native:
        return Reason.SOURCE_ABSENT, f"no series of {selector.name}"
    if not evaluator.every(selector):
        return Reason.SOURCE_ABSENT, f"no series matches {selector}"
    return None


def _why_stale(evaluator: Evaluator, selector: Selector, time_ms: int) -> Absence | None:
    if _samples(evaluator, selector, time_ms):
        return None
    at = time_ms - selector.offset_ms
    earlier = [time for series in evaluator.every(selector) for time in series.times if time <= at]
    if not earlier:
        return Reason.STALE, f"no sample of {selector} before this instant"
    return (
        Reason.STALE,
        f"last sample of {selector} {format_duration((at - max(earlier)) / 1000)} before",
    )


def _why_too_few(evaluator: Evaluator, selector: Selector, time_ms: int) -> Absence | None:
    if not selector.range_ms or _samples(evaluator, selector, time_ms) > 1:
        return None
    window = format_duration(selector.range_ms / 1000)
    return Reason.TOO_FEW_SAMPLES, f"1 sample of {selector} in {window}, where 2 are needed"


def _samples(evaluator: Evaluator, selector: Selector, time_ms: int) -> int:
    """The samples of the richest series that the selector sees; one at most for an instant selector."""
    if not selector.range_ms:
        return bool(evaluator.at(selector, time_ms))
    figures = (span.seen.beyond - span.seen.first for span in evaluator.spans(selector, time_ms))
    native = (span.seen.beyond - span.seen.first for span in evaluator.native_spans(selector, time_ms))
    return max((*figures, *native), default=0)
