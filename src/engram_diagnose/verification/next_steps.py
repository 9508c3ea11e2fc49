"""
What to do after a verdict.
"""

from collections.abc import Iterable

from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.verification.comparing import Comparison


def next_steps(found: Comparison) -> Iterable[str]:
    """Sentences, the first thing to do first."""
    if found.verdict == "improved":
        yield "Keep the change. To hold later days against it: engram-diagnose baseline save NAME"
    elif found.verdict == "worse":
        yield from _worse(found)
    elif found.verdict == "no change":
        yield "The change brought nothing that counts. Undo it if it costs anything."
        yield "Look for another cause: engram-diagnose run"
    elif found.verdict == "inconclusive":
        yield from _inconclusive(found)
    else:
        yield from _not_comparable(found)
    if found.also and found.verdict in ("improved", "worse"):
        yield "What else changed may have had a part in it: see above."
    if found.after.left_out or found.before.left_out:
        out = found.before.left_out + found.after.left_out
        yield f"{out} run{' was' if out == 1 else 's were'} not valid and left out: see what the client lacked."


def _worse(found: Comparison) -> Iterable[str]:
    if found.application is not None:
        yield "Undo the patch: engram-diagnose tune --rollback"
    else:
        yield "Undo the change, if it was one."
    yield "Then see what it hit: engram-diagnose run"


def _inconclusive(found: Comparison) -> Iterable[str]:
    asked = [one.effect.needed for one in found.figures if one.effect.verdict == "inconclusive" and one.effect.needed]
    if not asked:
        yield "More of the same would hardly decide it: the figures vary too much for the change they show."
        return
    least, most = min(asked), max(asked)
    many = f"{least}" if least == most else f"{least} to {most}"
    if found.after.kind == "benchmark" or not found.after.window:
        yield f"Measure again with {many} more runs on each side, the sides taking turns."
        return
    longer = format_value(most * found.after.window, UNITS["s"])
    yield f"Wait and compare longer stretches: {many} more windows on each side, which is up to {longer}."


def _not_comparable(found: Comparison) -> Iterable[str]:
    for one in found.load.measures:
        if one.state == "unknown":
            yield f"The {one.measure.name} of the load is not known on both sides ({', '.join(one.measure.facts)})."
        elif one.state != "comparable":
            yield f"The {one.measure.name} of the load is not the same on both sides."
    if found.load.state != "comparable":
        yield "Compare times of the same load, such as the same hour of two days, or replay one load against both."
        yield "If you know that the load was the same, say so with --assume-comparable; the report repeats it."
