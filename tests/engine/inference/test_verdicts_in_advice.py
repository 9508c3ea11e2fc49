"""Advice that hangs on another rule's verdict."""

from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.compiled import compile_rules
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.expression import Comparison, Leaf, Number, Reference
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Recommendation, Rule

BACKLOG = Leaf(Comparison(">", Reference("wal.lag"), Number(10.0, UNITS[""])))
ASKED = Leaf(Reference("log.behind"))


def rule(name: str, kind: str, *recommend: Recommendation) -> Rule:
    return Rule(name, 1, kind, name, "site", Mark("site.yaml", 1, 1), when=BACKLOG, recommend=recommend)  # type: ignore[arg-type]


def test_a_verdict_that_only_advice_asks_for_is_in_working_memory() -> None:
    rules = [
        rule("log.behind", "symptom"),
        rule("log.slow", "cause", Recommendation(investigate="look", condition=ASKED)),
    ]
    inference = infer(compile_rules({one.id: one for one in rules}), [Fact("wal.lag", point(20.0))])
    assert truth_of(ASKED, Seen(inference.memory)) is Truth.TRUE


def test_a_verdict_that_nothing_asks_for_is_not() -> None:
    inference = infer(compile_rules({"log.behind": rule("log.behind", "symptom")}), [Fact("wal.lag", point(20.0))])
    assert inference.memory.lookup("log.behind") is None
