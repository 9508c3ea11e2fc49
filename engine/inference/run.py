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
from engram_diagnose.engine.inference.reads import facts_read
from engram_diagnose.engine.language.expression import Reference
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

    The outcome does not depend on the order of the rules, nor on that of the facts, unless two known ones share a
    name and a scope: the later one then stands. A recorded fact stands before what a rule derives: somebody said so.
    """
    memory = Memory(facts)
    said = {fact.key for fact in memory.plain.values() if fact.status is Status.RECORDED}
    frames = Frames(memory, rules.slots)
    firings: list[Firing] = []
    for stage in rules.stages:
        decided, derived = _run_stage(stage, frames, decide, at)
        firings += decided
        if derived:
            frames.add(fact for fact in derived if fact.key not in said)
    return Inference(frames.memory, tuple(firings))


def _run_stage(
    stage: tuple[CompiledRule, ...], frames: Frames, decide: Decide, at: float
) -> tuple[list[Firing], list[Fact]]:
    batch = _batch(stage, frames)
    firings: list[Firing] = []
    derived: list[Fact] = []
    for (compiled, scope, frame), outcome in zip(batch, decide(batch), strict=True):
        if not compiled.rule.outputs:
            firings.append(Firing(compiled.rule, scope, outcome))
        else:
            outcome, row, values = _produce(compiled, frame, outcome)
            firings.append(Firing(compiled.rule, scope, outcome, row))
            seen = Seen(frames.memory, scope)
            derived += [_derived(compiled, name, value, row, seen, at) for name, value in values]
        if compiled.verdict_read:
            derived.append(_verdict(compiled.rule, scope, outcome, at))
    return firings, derived


def _batch(stage: tuple[CompiledRule, ...], frames: Frames) -> list[tuple[CompiledRule, Scope, Frame]]:
    """Every rule of a stage with every scope it runs in."""
    memory, instance = frames.memory, frames.frame(INSTANCE)
    batch: list[tuple[CompiledRule, Scope, Frame]] = []
    for compiled in stage:
        if compiled.rule.scope:
            found = instances(memory, compiled.rule.scope, compiled.read)
            batch += [(compiled, scope, frames.frame(scope)) for scope in found]
        else:
            batch.append((compiled, INSTANCE, instance))
    return batch


def _produce(
    compiled: CompiledRule, frame: Frame, outcome: Outcome
) -> tuple[Outcome, int | None, list[tuple[str, Value | None]]]:
    """What a table or derivation gives: the first row that is true, unless an unknown one stands before it."""
    nothing: list[tuple[str, Value | None]] = [(name, None) for name in compiled.rule.outputs.values()]
    if outcome != "fires":
        return outcome, None, nothing
    if compiled.value is not None:
        value = compiled.value(frame)
        return ("unknown" if value is None else "fires"), None, [(nothing[0][0], value)]
    for position, row in enumerate(compiled.rows):
        truth = TRUE if row.test is None else row.test(frame)
        if truth is TRUE:
            return _row(position, row, frame)
        if truth is not FALSE:
            return "unknown", None, nothing
    return "refuted", None, nothing


def _row(position: int, row: CompiledRow, frame: Frame) -> tuple[Outcome, int, list[tuple[str, Value | None]]]:
    values = [(name, value(frame)) for name, value in row.values]
    known = any(value is not None for _, value in values)
    return ("fires" if known else "unknown"), position, values


def _derived(compiled: CompiledRule, name: str, value: Value | None, row: int | None, seen: Seen, at: float) -> Fact:
    source = f"rule {compiled.rule.id}"
    inputs = list(facts_read(compiled.inputs if row is None else compiled.rows[row].inputs, seen))
    host = next((fact.host for _, fact in inputs if fact is not None and fact.host), "")
    if value is None:
        why = _why_unknown(compiled.rule, inputs)
        return Fact(name, None, Status.UNKNOWN, seen.scope, source, host, at, 0.0, why)
    proxy = next((fact for _, fact in inputs if fact is not None and fact.status is Status.PROXY), None)
    status = Status.PROXY if proxy is not None else Status.DERIVED
    return Fact(name, value, status, seen.scope, source, host, at, proxy_of=proxy.proxy_of if proxy else "")


def _why_unknown(rule: Rule, inputs: Iterable[tuple[Reference, Fact | None]]) -> Unknown:
    """The first input that is unknown; where none is, the rule has no answer for these figures."""
    for reference, fact in inputs:
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
