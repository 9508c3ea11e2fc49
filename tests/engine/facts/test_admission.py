"""Values that are not what the catalogue promises become unknown, with the reason."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.facts.admission import admitted
from engram_diagnose.engine.facts.catalogue import Kind
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value, point, unknown_fact
from engram_diagnose.rulebase import load_rules


@pytest.mark.parametrize(
    ("value", "kind"),
    [(point(3.0), "number"), ((1.0, math.inf), "number"), (point(1.0), "bool"), ("ext4", "text"), ("", "text")],
)
def test_a_sound_fact_is_let_in_as_it_is(value: Value, kind: Kind) -> None:
    fact = Fact("n.a", value)
    assert admitted(fact, kind) is fact


@pytest.mark.parametrize(
    ("value", "kind", "detail"),
    [
        ("many", "number", "the text 'many', not a figure"),
        ("yes", "bool", "the text 'yes', not a figure"),
        (point(4.0), "text", "the figure 4.0, not a text"),
        (point(math.nan), "number", "no interval"),
        ((3.0, 1.0), "number", "3.0 to 1.0 is no interval"),
    ],
)
def test_another_is_unknown_with_the_reason(value: Value, kind: Kind, detail: str) -> None:
    fact = admitted(Fact("n.a", value, Status.PROXY, source="a file", host="db1", time=5.0, proxy_of="n.b"), kind)
    assert fact.value is None
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.UNPARSED
    assert detail in fact.unknown.detail
    assert (fact.source, fact.host, fact.time) == ("a file", "db1", 5.0)


def test_an_unknown_fact_and_one_of_no_known_kind_stay() -> None:
    unknown, strange = unknown_fact("n.a", Reason.NAN), Fact("n.b", "text")
    assert admitted(unknown, "number") is unknown
    assert admitted(strange, None) is strange


@pytest.fixture(scope="module")
def built_in() -> Expert:
    return expert(load_rules())


VALUES = st.text(max_size=3) | st.tuples(st.floats(), st.floats()) | st.floats().map(point)


@given(st.data())
def test_no_value_makes_a_diagnosis_fail(built_in: Expert, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(built_in.loaded.catalogue.facts))
    facts = [Fact(name, value) for name, value in data.draw(st.dictionaries(names, VALUES, max_size=40)).items()]
    built_in.diagnose(facts, Subject())
