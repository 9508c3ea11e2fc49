"""
Many figures into one verdict.
"""

from collections.abc import Iterable

from engram_diagnose.engine.advice.record import Verdict

_ORDER: tuple[Verdict, ...] = ("worse", "improved", "inconclusive", "no change")


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """
    The verdict on a change: worse when any figure is, else improved when any is, else inconclusive when any is.

    Not comparable when no figure could be compared.
    """
    found = set(verdicts)
    return next((verdict for verdict in _ORDER if verdict in found), "not comparable")


def level_of_each(confidence: float, figures: int) -> float:
    """
    The confidence level each of several figures is held to, so that all together keep `confidence` (Bonferroni).

    Twenty figures at 95 % each would raise a false alarm in six of ten comparisons of a server with itself.
    """
    return 1 - (1 - confidence) / max(1, figures)
