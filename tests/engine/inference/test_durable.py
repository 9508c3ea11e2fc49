"""durable-rules stays exact past every limit it has, and keeps no memory."""

import gc
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from engram_diagnose.engine.facts.fact import Fact, Reason, point, unknown_fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.clauses import MAX_BODY, Clause
from engram_diagnose.engine.inference.compiled import CompiledRules, compile_rules
from engram_diagnose.engine.inference.durable import (
    MAX_RULES,
    MAX_USES,
    SIDE,
    DurableEvaluator,
    EngineFailed,
    EngineUnavailable,
    _shared_out,
)
from engram_diagnose.engine.inference.firing import Inference
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    AtLeast,
    Comparison,
    Condition,
    Leaf,
    Not,
    Number,
    Reference,
)
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Rule


def above(name: str, limit: float) -> Leaf:
    return Leaf(Comparison(">", Reference(name), Number(limit, UNITS[""])))


def cause(
    number: int, when: Condition | None, *, scope: tuple[str, ...] = (), applies: Condition | None = None
) -> Rule:
    mark = Mark("test", 1, 1)
    return Rule(f"rule.{number}", 1, "cause", "", "test", mark, scope=scope, applies=applies, when=when)


def compiled(*rules: Rule) -> CompiledRules:
    return compile_rules({rule.id: rule for rule in rules})


def outcomes(inference: Inference) -> list[tuple[str, str, str]]:
    return [(firing.rule.id, str(firing.scope), firing.outcome) for firing in inference.firings]


def resident_mb() -> float:
    """Resident memory of this process, in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "durable", None)
    monkeypatch.setitem(sys.modules, "durable.engine", None)
    with pytest.raises(EngineUnavailable, match=r"extra `durable`.*Python before 3\.13") as caught:
        DurableEvaluator(compiled(cause(0, None)))
    assert isinstance(caught.value, ValueError)


def test_the_module_itself_does_not_need_the_extra() -> None:
    """It is imported late, so that the command line can name it without having it."""
    spec = importlib.util.find_spec("engram_diagnose.engine.inference.durable")
    assert spec is not None
    assert spec.origin is not None
    assert "\nimport durable" not in Path(spec.origin).read_text(encoding="utf-8")


@pytest.mark.durable
def test_more_rules_than_one_ruleset_holds() -> None:
    rules = compiled(
        *(cause(number, AnyOf((above("n.a", number), above(f"n.{number}", 0)))) for number in range(1_200))
    )
    facts = [Fact("n.a", point(600.0)), *(Fact(f"n.{number}", point(number % 2)) for number in range(0, 1_200, 3))]
    durable = DurableEvaluator(rules).decide
    assert outcomes(infer(rules, facts, decide=durable)) == outcomes(infer(rules, facts))


def test_rulesets_keep_clear_of_the_limits() -> None:
    clauses = [Clause(number + 10, (2, number % 7 + 3)) for number in range(2_000)]
    found = _shared_out(clauses)
    assert [clause for part in found for clause in part] == clauses
    assert all(len(part) < MAX_RULES for part in found)
    uses = [Counter(atom for clause in part for atom in clause.body) for part in found]
    assert max(count for part in uses for count in part.values()) == MAX_USES
    assert MAX_RULES * MAX_BODY < SIDE * SIDE


@pytest.mark.durable
def test_one_fact_that_every_rule_reads() -> None:
    """256 conditions on one atom fill a list of the C core, which then runs over."""
    shared = above("n.shared", 1)
    rules = compiled(*(cause(number, above("n.own", number), applies=shared) for number in range(1_000)))
    durable = DurableEvaluator(rules).decide
    for value in (2.0, 0.0):
        facts = [Fact("n.shared", point(value)), Fact("n.own", (400.5, 500.5))]
        assert outcomes(infer(rules, facts, decide=durable)) == outcomes(infer(rules, facts))


@pytest.mark.durable
@pytest.mark.parametrize("known", [0, 9, 10, 30, 31, 39, 40])
def test_conditions_wider_than_the_engine_joins(known: int) -> None:
    """It joins 16 messages; one rule here has forty conditions."""
    items = tuple(above(f"n.{number}", 0) for number in range(40))
    rules = compiled(cause(0, All(items)), cause(1, AnyOf(items)), cause(2, AtLeast(10, items)),
                     cause(3, Not(AtLeast(31, items))))  # fmt: skip
    for value in (0.0, 1.0):
        facts = [Fact(f"n.{number}", point(value)) for number in range(known)]
        assert outcomes(infer(rules, facts, decide=DurableEvaluator(rules).decide)) == outcomes(infer(rules, facts))


@pytest.mark.durable
def test_more_scopes_than_the_engine_has_sessions() -> None:
    """Its 1,025th session crashes, so all scopes share one."""
    rules = compiled(cause(0, above("n.a", 1), scope=("space",)))
    facts = [Fact("n.a", point(number % 3), scope=scope_of({"space": f"s{number}"})) for number in range(1_500)]
    inference = infer(rules, facts, decide=DurableEvaluator(rules).decide)
    assert outcomes(inference) == outcomes(infer(rules, facts))
    assert len(inference.firings) == 1_500


@pytest.mark.durable
def test_what_one_diagnosis_knew_is_forgotten_in_the_next() -> None:
    rules = compiled(cause(0, All((above("n.a", 1), above("n.b", 1)))))
    durable = DurableEvaluator(rules).decide
    a, b = Fact("n.a", point(2.0)), Fact("n.b", point(2.0))
    assert [outcomes(infer(rules, facts, decide=durable))[0][2] for facts in ([a], [b], [a, b], [], [a])] == [
        "unknown", "unknown", "fires", "unknown", "unknown"]  # fmt: skip


@pytest.mark.durable
def test_a_missing_fact_never_concludes_anything() -> None:
    """On raw facts the engine took a missing one for smaller than any other."""
    rules = compiled(cause(0, Leaf(Comparison(">", Reference("n.a"), Reference("n.b")))),
                     cause(1, Not(Leaf(Comparison(">", Reference("n.a"), Reference("n.b"))))))  # fmt: skip
    facts = [Fact("n.a", point(2.0)), unknown_fact("n.b", Reason.NO_PMU)]
    found = infer(rules, facts, decide=DurableEvaluator(rules).decide)
    assert {outcome for _, _, outcome in outcomes(found)} == {"unknown"}


@pytest.mark.durable
@pytest.mark.slow
def test_ten_thousand_diagnoses_do_not_grow() -> None:
    rules = compiled(*(cause(number, AtLeast(2, (above("n.a", number), above("n.b", number), above("n.c", number))))
                       for number in range(6)))  # fmt: skip
    durable = DurableEvaluator(rules).decide

    def diagnose(number: int) -> list[tuple[str, str, str]]:
        facts = [Fact(name, point(float(number % (7 + place)))) for place, name in enumerate(("n.a", "n.b", "n.c"))]
        found = outcomes(infer(rules, facts[number % 2 :], decide=durable))
        assert number % 500 or found == outcomes(infer(rules, facts[number % 2 :]))
        return found

    for number in range(1_000):
        diagnose(number)
    before = resident_mb()
    for number in range(10_000):
        diagnose(number)
    assert resident_mb() - before < 4


@pytest.mark.durable
def test_evaluators_give_their_memory_back() -> None:
    """The engine keeps some 10 KB a condition; 100 evaluators of 100 conditions would leave 100 MB."""
    rules = compiled(*(cause(number, All((above("n.a", number), above("n.b", number)))) for number in range(50)))

    def use() -> None:
        infer(rules, [Fact("n.a", point(20.0)), Fact("n.b", point(30.0))], decide=DurableEvaluator(rules).decide)

    use()
    before = resident_mb()
    for _ in range(100):
        use()
    assert resident_mb() - before < 20


@pytest.mark.durable
def test_an_evaluator_that_never_ran_can_be_thrown_away() -> None:
    """Freeing a session in which nothing had fired crashed the process."""
    for _ in range(3):
        DurableEvaluator(compiled(cause(0, above("n.a", 1))))
        gc.collect()


@pytest.mark.durable
def test_a_refused_atom_is_an_error() -> None:
    rules = compiled(cause(0, above("n.a", 1)), cause(1, All((above("n.a", 1), above("n.b", 1)))))
    durable = DurableEvaluator(rules)
    facts = [Fact("n.a", point(2.0)), Fact("n.b", point(2.0))]
    ruleset = durable._rulesets[0]
    honest = ruleset._facts
    ruleset._facts = dict.fromkeys(honest, '{"g":399,"p":399}')
    with pytest.raises(EngineFailed, match="refused an atom"):
        infer(rules, facts, decide=durable.decide)
    ruleset._facts = honest
    assert outcomes(infer(rules, facts, decide=durable.decide)) == outcomes(infer(rules, facts))
