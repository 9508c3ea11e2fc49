"""
Inference: stages in their order, with a barrier across all scopes after each.
"""

from collections.abc import Iterable

from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Unknown, Value, point
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.inference.compiled import CompiledRow, CompiledRule, CompiledRules
from engram_diagnose.engine.inference.firing import Decide, Firing, Inference, decide_with_closures
from engram_diagnose.engine.inference.frames import Frames, Seen, instances
from engram_diagnose.engine.inference.leaf import FALSE, TRUE, Frame
from engram_diagnose.engine.language.expression import Expression, Reference, leaves, references
from engram_diagnose.engine.language.rule import Outcome, Rule

_VERDICTS: dict[Outcome, Value | None] = {"fires": point(1.0), "refuted": point(0.0)}


def infer(
    rules: CompiledRules,
    facts: Iterable[Fact],
    *,
    at: float = 0.0,
    decide: Decide = decide_with_closures,
) -> Inference:
    """
    Run a rule base over facts. `at` is the time (seconds since the epoch) that derived facts are stamped with.

    The outcome does not depend on the order of the facts or of the rules.
    """
    frames = Frames(Memory(facts), rules.slots)
    firings: list[Firing] = []
    for stage in rules.stages:
        decided, derived = _run_stage(stage, frames, decide, at)
        firings += decided
        if derived:
            frames.add(derived)
    return Inference(frames.memory, tuple(firings))


def _run_stage(
    stage: tuple[CompiledRule, ...], frames: Frames, decide: Decide, at: float
) -> tuple[list[Firing], list[Fact]]:
    batch = [(rule, scope, frames.frame(scope)) for rule in stage for scope in _scopes(rule, frames.memory)]
    firings: list[Firing] = []
    derived: list[Fact] = []
    for (compiled, scope, frame), outcome in zip(batch, decide(batch), strict=True):
        row = None
        if outcome == "fires" and compiled.rule.outputs:
            outcome, row, values = _produce(compiled, frame)
            derived += [
                _derived(compiled.rule, name, value, row, Seen(frames.memory, scope), at) for name, value in values
            ]
        elif compiled.rule.outputs:
            derived += [
                _derived(compiled.rule, name, None, None, Seen(frames.memory, scope), at)
                for name in compiled.rule.outputs.values()
            ]
        firings.append(Firing(compiled.rule, scope, outcome, row))
        if compiled.verdict_read:
            derived.append(_verdict(compiled.rule, scope, outcome, at))
    return firings, derived


def _scopes(rule: CompiledRule, memory: Memory) -> list[Scope]:
    return instances(memory, rule.rule.scope, rule.read) if rule.rule.scope else [INSTANCE]


def _produce(compiled: CompiledRule, frame: Frame) -> tuple[Outcome, int | None, list[tuple[str, Value | None]]]:
    """What a table or derivation gives: the first row that is true, unless an unknown one stands before it."""
    if compiled.value is not None:
        value = compiled.value(frame)
        return (
            ("unknown" if value is None else "fires"),
            None,
            [(next(iter(compiled.rule.outputs.values())), value)],
        )
    for position, row in enumerate(compiled.rows):
        truth = TRUE if row.test is None else row.test(frame)
        if truth is TRUE:
            return _row(position, row, frame)
        if truth is not FALSE:
            return "unknown", None, [(name, None) for name in compiled.rule.outputs.values()]
    return "refuted", None, [(name, None) for name in compiled.rule.outputs.values()]


def _row(position: int, row: CompiledRow, frame: Frame) -> tuple[Outcome, int, list[tuple[str, Value | None]]]:
    values = [(name, value(frame)) for name, value in row.values]
    known = any(value is not None for _, value in values)
    return ("fires" if known else "unknown"), position, values


def _derived(rule: Rule, name: str, value: Value | None, row: int | None, seen: Seen, at: float) -> Fact:
    source = f"rule {rule.id}"
    inputs = [fact for reference in _inputs(rule, row) if (fact := seen.fact(reference)) is not None]
    host = next((fact.host for fact in inputs if fact.host), "")
    if value is None:
        return Fact(
            name,
            None,
            Status.UNKNOWN,
            seen.scope,
            source,
            host,
            at,
            0.0,
            _why_unknown(rule, row, seen),
        )
    proxy = next((fact for fact in inputs if fact.status is Status.PROXY), None)
    status = Status.PROXY if proxy is not None else Status.DERIVED
    return Fact(name, value, status, seen.scope, source, host, at, proxy_of=proxy.proxy_of if proxy else "")


def _inputs(rule: Rule, row: int | None) -> list[Reference]:
    """The references a derived value rests on."""
    if rule.value is not None:
        expressions: list[Expression] = [rule.value]
    else:
        taken = rule.rows if row is None else rule.rows[: row + 1]
        expressions = [leaf.test for entry in taken if entry.condition for leaf in leaves(entry.condition)]
        expressions += [value for entry in taken[-1:] for value in entry.values.values()]
    return list(dict.fromkeys(reference for expression in expressions for reference in references(expression)))


def _why_unknown(rule: Rule, row: int | None, seen: Seen) -> Unknown:
    for reference in _inputs(rule, row):
        fact = seen.fact(reference)
        if fact is None:
            return Unknown(Reason.NOT_COLLECTED, str(reference))
        if fact.unknown is not None:
            detail = f"{reference}: {fact.unknown.detail}" if fact.unknown.detail else str(reference)
            return Unknown(fact.unknown.reason, detail)
    return Unknown(
        Reason.SOURCE_ABSENT,
        f"no row of {rule.id} holds" if rule.rows else f"{rule.id} does not come to a figure",
    )


def _verdict(rule: Rule, scope: Scope, outcome: Outcome, at: float) -> Fact:
    value = _VERDICTS.get(outcome)
    if value is not None:
        return Fact(rule.id, value, Status.DERIVED, scope, f"rule {rule.id}", time=at)
    return Fact(
        rule.id,
        None,
        Status.UNKNOWN,
        scope,
        f"rule {rule.id}",
        time=at,
        unknown=Unknown(Reason.NOT_COLLECTED, f"{rule.id} is not testable"),
    )
