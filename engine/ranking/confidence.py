"""
Confidence: P(cause | its gate is true), moved in log-odds by evidence.

    logit(confidence) = logit(prior) + Σ over groups of the strongest piece's log likelihood ratio

Evidence that nothing is known of moves no figure; it widens the interval, whose ends are what the confidence would be
if
everything unknown spoke against the cause, or for it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.engine.facts.fact import Status
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.reads import Read, facts_read, reads_of_condition
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.expression import Condition, references
from engram_diagnose.engine.language.rule import CERTAINTIES, STRENGTHS, Evidence, Graded, Rule

RawSource = Callable[[str], str]
"""The measured quantity behind a fact's name; empty for what is not measured (settings, targets)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """
    One piece of evidence, weighed. `log_ratio` is what it adds when it is counted; `low` and `high` what it could add.

    `condition` is the test that counts (of graded evidence, the step); `counted` is false for a piece that a stronger
    one of its group stands in for.
    """

    evidence: Evidence | Graded
    condition: Condition
    truth: Truth
    strength: str
    log_ratio: float
    low: float
    high: float
    counted: bool = True
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class Confidence:
    """
    A probability, the interval that unknown evidence leaves open, and the pieces it rests on.

    `weighed` is the probability before calibration, which is what causes are ordered by: a fit changes what is said
    of a cause, and never which comes first.
    """

    prior: float
    probability: float
    low: float
    high: float
    pieces: tuple[Piece, ...]
    prior_weakened: bool = False
    before_calibration: float | None = None

    @property
    def weighed(self) -> float:
        """The probability as the designers' figures weigh it."""
        return self.probability if self.before_calibration is None else self.before_calibration

    def stated(self, scales: Scales) -> "Confidence":
        """The same as reports state it: through the calibration, where there is one."""
        if scales.calibration is None:
            return self
        middle, low, high = (scales.stated(share) for share in (self.probability, self.low, self.high))
        return replace(self, probability=middle, low=low, high=high, before_calibration=self.probability)


@dataclass(frozen=True, slots=True)
class Basis:
    """
    What a rule's confidence rests on, whatever the facts are; kept for rules that are weighed often.

    `gate` and `evidence` are what the gate and each piece read; `groups` the positions of pieces that count
    once together.
    """

    gate: tuple[Read, ...]
    evidence: tuple[tuple[Read, ...], ...]
    groups: tuple[tuple[int, ...], ...]


def basis_of(rule: Rule, raw: RawSource) -> Basis:
    """The basis of a rule."""
    evidence = tuple(_read_by(piece) for piece in rule.evidence)
    keys = [_keys(piece, read, raw) for piece, read in zip(rule.evidence, evidence, strict=True)]
    return Basis(reads_of_condition(rule.when), evidence, _groups(keys))


def confidence(rule: Rule, seen: Seen, scales: Scales, raw: RawSource, *, basis: Basis | None = None) -> Confidence:
    """The confidence in a cause whose gate is true in the scope that `seen` shows; `basis` is the rule's, if known."""
    basis = basis or basis_of(rule, raw)
    weakened = _rest_on_proxy(basis.gate, seen)
    prior = _prior(rule.when_true, scales, weakened=weakened)
    start = math.log(prior / (1 - prior))
    pieces = [
        _weigh(evidence, seen, scales, proxy=_rest_on_proxy(facts, seen))
        for evidence, facts in zip(rule.evidence, basis.evidence, strict=True)
    ]
    groups = [[pieces[position] for position in group] for group in basis.groups]
    chosen = [strongest for group in groups if (strongest := _strongest(group)) is not None]
    middle = _sigmoid(math.fsum([start, *(piece.log_ratio for piece in chosen)]))
    low = _sigmoid(math.fsum([start, *(_extreme(piece.low for piece in group) for group in groups)]))
    high = _sigmoid(math.fsum([start, *(_extreme(piece.high for piece in group) for group in groups)]))
    counted = {id(piece) for piece in chosen}
    shown = (p if p.truth is Truth.UNKNOWN or id(p) in counted else replace(p, counted=False) for p in pieces)
    return Confidence(prior, middle, min(middle, low), max(middle, high), tuple(shown), weakened)


def _prior(word: str, scales: Scales, *, weakened: bool) -> float:
    position = CERTAINTIES.index(word) - (1 if weakened else 0)
    return scales.certainty[CERTAINTIES[max(0, position)]]


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def _weigh(evidence: Evidence | Graded, seen: Seen, scales: Scales, *, proxy: bool) -> Piece:
    if isinstance(evidence, Graded):
        return _weigh_graded(evidence, seen, scales, proxy)
    return _weigh_plain(evidence, seen, scales, proxy)


def _weigh_plain(evidence: Evidence, seen: Seen, scales: Scales, proxy: bool) -> Piece:
    for_, against = _ratio(evidence.seen, scales, proxy), -_ratio(evidence.absent, scales, proxy)
    truth = truth_of(evidence.condition, seen)
    if truth is Truth.TRUE:
        return Piece(evidence, evidence.condition, truth, evidence.seen, for_, for_, for_, proxy=proxy)
    if truth is Truth.FALSE:
        return Piece(
            evidence,
            evidence.condition,
            truth,
            evidence.absent,
            against,
            against,
            against,
            proxy=proxy,
        )
    return Piece(evidence, evidence.condition, truth, evidence.seen, 0.0, against, for_, proxy=proxy)


def _weigh_graded(evidence: Graded, seen: Seen, scales: Scales, proxy: bool) -> Piece:
    """Steps come strongest first: the first that holds counts; one that may hold leaves room above it."""
    open_step = None
    for step in evidence.steps:
        truth = truth_of(step.condition, seen)
        amount = _ratio(step.seen, scales, proxy)
        if truth is Truth.TRUE:
            top = amount if open_step is None else _ratio(open_step.seen, scales, proxy)
            return Piece(evidence, step.condition, truth, step.seen, amount, amount, top, proxy=proxy)
        if truth is Truth.UNKNOWN and open_step is None:
            open_step = step
    against = -_ratio(evidence.absent, scales, proxy)
    if open_step is None:
        return Piece(
            evidence,
            evidence.steps[-1].condition,
            Truth.FALSE,
            evidence.absent,
            against,
            against,
            against,
            proxy=proxy,
        )
    top = _ratio(open_step.seen, scales, proxy)
    return Piece(evidence, open_step.condition, Truth.UNKNOWN, open_step.seen, 0.0, against, top, proxy=proxy)


def _ratio(strength: str, scales: Scales, proxy: bool) -> float:
    """What a strength adds; a proxy speaks one step weaker."""
    return scales.log_ratio(STRENGTHS[max(0, STRENGTHS.index(strength) - 1)] if proxy else strength)


def _rest_on_proxy(reads: Iterable[Read], seen: Seen) -> bool:
    return any(fact is not None and fact.status is Status.PROXY for _, fact in facts_read(reads, seen))


def _strongest(pieces: Sequence[Piece]) -> Piece | None:
    """Of what is decided in a group, the one that tells most; of two as telling, the one against."""
    decided = [piece for piece in pieces if piece.truth is not Truth.UNKNOWN]
    return max(decided, key=lambda piece: (abs(piece.log_ratio), -piece.log_ratio), default=None)


def _extreme(amounts: Iterable[float]) -> float:
    return max(amounts, key=lambda amount: (abs(amount), -amount), default=0.0)


def _groups(keys: Sequence[set[str]]) -> tuple[tuple[int, ...], ...]:
    """Positions of evidence that counts once: of one `group`, or resting on one measured quantity."""
    groups: list[tuple[set[str], list[int]]] = []
    for position, own in enumerate(keys):
        members, merged = [position], set(own)
        for group in [group for group in groups if group[0] & own]:
            groups.remove(group)
            merged |= group[0]
            members = group[1] + members
        groups.append((merged, members))
    return tuple(tuple(sorted(members)) for _, members in sorted(groups, key=lambda group: min(group[1])))


def _keys(piece: Evidence | Graded, reads: Iterable[Read], raw: RawSource) -> set[str]:
    sources = {raw(reference.name) for read in reads for reference in references(read)}
    return {f"raw:{source}" for source in sources if source} | ({f"group:{piece.group}"} if piece.group else set())


def _read_by(piece: Evidence | Graded) -> tuple[Read, ...]:
    """What a piece of evidence reads, each once."""
    conditions = [piece.condition] if isinstance(piece, Evidence) else [step.condition for step in piece.steps]
    return tuple(dict.fromkeys(read for condition in conditions for read in reads_of_condition(condition)))


UNTOLD: Final = frozenset({"config", "targets", "operator"})
"""Origins that measure nothing, so that sharing them makes no two pieces of evidence one."""
