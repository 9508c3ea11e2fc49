"""
Two sides into effects: the load first, then every figure as the load lets it stand.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engram_diagnose.engine.advice.record import Application, Prediction, Verdict
from engram_diagnose.engine.comparison.effect import Effect, compare
from engram_diagnose.engine.comparison.load import Load, compare_load, under
from engram_diagnose.engine.comparison.outcome import level_of_each, overall
from engram_diagnose.engine.comparison.policy import Figure, Measure, Policy
from engram_diagnose.engine.comparison.samples import Samples
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.verification.figures import key_of, named_keys, usual_keys, what_counts
from engram_diagnose.verification.side import Key, NothingToCompareError, Side


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure, what counts for it, what became of it, and what was predicted for it."""

    key: Key
    figure: Figure
    effect: Effect
    before: int
    after: int
    predicted: Prediction | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Something else that is not the same on both sides; a text is empty where there is nothing."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was decided about two sides; `level` is what each figure was held to."""

    before: Side
    after: Side
    load: Load
    figures: tuple[Compared, ...]
    also: tuple[Changed, ...]
    verdict: Verdict
    confidence: float
    level: float
    application: Application | None = None


def check_sides(before: Side, after: Side) -> None:
    """Raises `NothingToCompareError` for sides that are not of one kind, turned round, or empty."""
    kinds = {"benchmark" if side.kind == "benchmark" else "server" for side in (before, after)}
    if len(kinds) > 1:
        raise NothingToCompareError(
            "one side is a benchmark and the other is not: what clients measured is not what the server measured of "
            "itself; give two of a kind"
        )
    if before.kind != "benchmark" and after.end == before.end:
        raise NothingToCompareError("both sides end at the same instant: they are the same; name a later one as after")
    if before.kind != "benchmark" and after.end < before.end:
        raise NothingToCompareError("the after side ends before the before side does; were they turned round?")
    for side, name in ((before, "before"), (after, "after")):
        if not side.figures:
            raise NothingToCompareError(
                f"the {name} side ({', '.join(side.sources)}) holds no figure that can be compared; collect it with "
                "--prometheus URL, and the after side long enough after the before side to have samples of its own"
            )


def compare_sides(before: Side, after: Side, policy: Policy, catalogue: Catalogue, *, named: Sequence[Key] = (),
                  assumed: bool = False, application: Application | None = None) -> Comparison:  # fmt: skip
    """
    Compare two sides: the figures that were named, else the usual ones; and those of which `application` predicts.

    With `assumed`, the operator says that the load was comparable.
    """
    check_sides(before, after)
    load = compare_load(before.load, after.load, policy.load, assumed=assumed)
    keys = named_keys(named, before, after) if named else usual_keys(before, after, policy, _usual(before, policy))
    predicted = _predicted(application, before, after)
    keys = list(dict.fromkeys([*keys, *predicted]))
    level = level_of_each(policy.confidence, sum(key in before.figures and key in after.figures for key in keys))
    figures = []
    for key in keys:
        figure = what_counts(key.on, policy, catalogue)
        effect = under(load, effect_of(key, figure, before, after, policy, level), worsens=figure.worsens)
        figures.append(Compared(key, figure, effect, *_counts(key, before, after), predicted.get(key)))
    deciding = [one.effect.verdict for one in figures if one.effect.before is not None and one.effect.after is not None]
    return Comparison(before, after, load, tuple(figures), tuple(also_changed(before, after, application)),
                      overall(deciding), policy.confidence, level, application)  # fmt: skip


def effect_of(key: Key, figure: Figure, before: Side, after: Side, policy: Policy, level: float) -> Effect:
    """The effect on one figure, the load left aside."""
    then, now = (side.figures.get(key, Samples(())) for side in (before, after))
    missing = [name for name, side in (("before", then), ("after", now)) if not side.values]
    if missing:
        found = Effect("not comparable", then.median if then.values else None, now.median if now.values else None)
        return replace(found, note=f"not known {' nor '.join(missing)}")
    effect = compare(then, now, better=figure.better, share=figure.share, least=figure.least, level=level,
                     fewest=policy.least, ratio=figure.ratio)  # fmt: skip
    if key in before.beyond and key in after.beyond:
        return replace(effect, verdict="inconclusive", low=None, high=None,
                       note="beyond the last bucket of the histogram on both sides")  # fmt: skip
    return effect


def _counts(key: Key, before: Side, after: Side) -> tuple[int, int]:
    first, second = (len(side.figures.get(key, ())) for side in (before, after))
    return first, second


def _usual(side: Side, policy: Policy) -> list[str]:
    """The facts that are compared; of a live server, what it is asked for is load and no figure."""
    asked = {name for measure in policy.load if measure.heavier for name in measure.facts}
    return [figure.on for figure in policy.figures if side.kind == "benchmark" or figure.on not in asked]


def _predicted(application: Application | None, before: Side, after: Side) -> dict[Key, Prediction]:
    known = [key for key in before.figures if key in after.figures]
    pairs = ((key_of(one, known), one) for one in (application.predictions if application else ()))
    return {key: one for key, one in pairs if key is not None}


def also_changed(before: Side, after: Side, application: Application | None) -> Iterable[Changed]:
    """What else differs, but for what the patch set, and for the restart that it may have taken."""
    patched = {change.parameter for change in application.changes} if application else set()
    then, now = ({(one.name, one.parameter): one.value for one in side.traits} for side in (before, after))
    for name, parameter in dict.fromkeys([*then, *now]):
        first, second = then.get((name, parameter), ""), now.get((name, parameter), "")
        both = bool(first and second) or (bool(parameter) and _configured(before) and _configured(after))
        if both and first != second and parameter not in patched:
            yield Changed(name, first, second)
    if after.restarted is not None and before.end < after.restarted <= after.end and application is None:
        yield Changed("restart of the server", "", f"{after.restarted:.0f}")


def _configured(side: Side) -> bool:
    return any(trait.parameter for trait in side.traits)


def without_rate(measures: Iterable[Measure], fact: str) -> tuple[Measure, ...]:
    """The measures of the load but those that are this very figure."""
    return tuple(measure for measure in measures if fact not in measure.facts)
