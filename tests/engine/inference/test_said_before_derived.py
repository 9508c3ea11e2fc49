"""What somebody said of a fact goes before what a rule would derive for it."""

import pytest

from engram_diagnose.engine.facts.fact import Fact, Reason, Status, point, unknown_fact
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.compiled import compile_rules
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.expression import Arithmetic, Expression, Number, Reference
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Rule


def twice(name: str, of: str, output: str) -> Rule:
    value: Expression = Arithmetic("*", Number(2.0, UNITS[""]), Reference(of))
    return Rule(name, 1, "derive", name, "site", Mark("site.yaml", 1, 1), value=value, outputs={"value": output})


RULES = compile_rules({
    rule.id: rule for rule in (twice("fit.links", "cores", "fit.m"), twice("fit.limits", "fit.m", "fit.max_m"))
})  # fmt: skip


def memory(*facts: Fact) -> Memory:
    return infer(RULES, [Fact("cores", point(4.0)), *facts]).memory


def test_a_recorded_fact_stands_and_what_is_derived_from_it_follows() -> None:
    found = memory(Fact("fit.m", point(40.0), Status.RECORDED, source="the operator"))
    assert found.value("fit.m") == point(40.0)
    assert found.value("fit.max_m") == point(80.0)
    fact = found.lookup("fit.m")
    assert fact is not None
    assert fact.source == "the operator"


@pytest.mark.parametrize("other", [Fact("fit.m", point(40.0)), unknown_fact("fit.m", Reason.NOT_COLLECTED)])
def test_any_other_fact_of_that_name_gives_way_to_the_rule(other: Fact) -> None:
    assert memory(other).value("fit.m") == point(8.0)
    assert memory(other).value("fit.max_m") == point(16.0)
