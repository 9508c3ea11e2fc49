"""Laws of advice over whatever makes causes fire: no key twice without new evidence, none to and fro, within bounds."""

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.advice.advise import Advice, advise
from engram_diagnose.engine.advice.decision import same
from engram_diagnose.engine.advice.past import Past
from engram_diagnose.engine.advice.record import Application, KeyChange
from engram_diagnose.engine.diagnosis import Diagnosis, Subject, expert
from engram_diagnose.engine.facts.fact import Fact, Status, Value, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.expression import Reference
from engram_diagnose.rulebase import load_rules

NOW = 1_700_000_000.0
DAY = 86_400.0
Facts = dict[Reference, Value]

LOADED = load_rules()
EXPERT = expert(LOADED)
HOST: Facts = {
    Reference("host.cores"): point(16.0),
    Reference("mem.total"): point(64 * 2.0**30),
    Reference("mem.available_share"): point(0.5),
    Reference("workload.memory_constrained"): point(0.0),
    Reference("op.latency.p99", (("operation", "recall"),)): point(0.08),
    Reference("op.latency.p99", (("operation", "store"),)): point(0.2),
    Reference("index.recall_at_10"): point(0.7),
}


def firing_facts() -> list[Facts]:
    """For each cause that sets something, the facts by which its own tests say that it fires."""
    found = []
    for rule in LOADED.rules.rules.values():
        if rule.kind == "cause" and any(item.settings for item in rule.recommend):
            found.append({item.reference: item.value for item in rule.given})
    return found


SCENES = firing_facts()
PARAMETERS = sorted(LOADED.catalogue.parameters)


def configured(name: str) -> st.SearchStrategy[Value]:
    """A value that a file may hold, within the bounds and without."""
    spec = LOADED.catalogue.parameters[name]
    if spec.kind == "text":
        return st.sampled_from(spec.values)
    if spec.kind == "bool":
        return st.sampled_from([point(0.0), point(1.0)])
    low = spec.low if spec.low > 0 else 1.0
    high = spec.high if spec.high < 1e18 else low * 1e4
    return st.sampled_from([low / 2, low, (low * high) ** 0.5, high, high * 2]).map(
        lambda figure: point(float(round(figure)) if figure >= 1 else figure)
    )


CONFIGURATIONS = st.lists(st.sampled_from(PARAMETERS), unique=True, max_size=12).flatmap(
    lambda names: st.fixed_dictionaries({name: configured(name) for name in names})
)


def diagnosis(scenes: Sequence[int], configuration: Mapping[str, Value], at: float, started: float) -> Diagnosis:
    known: Facts = dict(HOST)
    for scene in scenes:
        known |= SCENES[scene]
    known |= {Reference(name): value for name, value in configuration.items()}
    known[Reference("process.uptime")] = point(at - started)
    facts = [
        Fact(reference.name, value, Status.MEASURED, scope_of(dict(reference.labels)), "test", "db1", at, 300.0)
        for reference, value in known.items()
    ]
    return EXPERT.diagnose(facts, Subject("db1:7432", "db1", at, "guide"))


def after(found: Advice, configuration: Mapping[str, Value]) -> dict[str, Value]:
    changed = {one.name: one.wanted for one in found.of("advised") if one.wanted is not None}
    return {**configuration, **changed}


def application(found: Advice, at: float, number: int) -> Application:
    changes = tuple(KeyChange(one.name, one.name, one.current, one.wanted, one.chosen.rule)
                    for one in found.of("advised") if one.wanted is not None)  # fmt: skip
    return Application(at, "db1:7432", "/f", "", "", "guide", changes, (), "applied", "", number)


scenes = st.lists(st.integers(0, len(SCENES) - 1), min_size=1, max_size=3, unique=True)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(scenes, CONFIGURATIONS, st.booleans())
def test_no_key_is_advised_again_before_it_was_measured(
    which: list[int], configuration: dict[str, Value], sizing: bool
) -> None:
    first = advise(diagnosis(which, configuration, NOW, NOW - DAY), sizing=sizing)
    done = {one.name for one in first.of("advised")}
    past = Past((application(first, NOW + 1, 1),))
    again = diagnosis(which, after(first, configuration), NOW + 2, NOW - DAY)
    second = advise(again, sizing=sizing, past=past)
    assert not done & {one.name for one in second.of("advised")}


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(scenes, st.booleans()), min_size=2, max_size=5), CONFIGURATIONS)
def test_no_sequence_of_diagnoses_sets_a_key_to_and_fro(
    story: list[tuple[list[int], bool]], configuration: dict[str, Value]
) -> None:
    walk: dict[str, list[Value | None]] = {}
    entries: list[Application] = []
    for number, (which, sizing) in enumerate(story, 1):
        at = NOW + number * DAY
        found = advise(diagnosis(which, configuration, at, at - DAY / 2), sizing=sizing, past=Past(tuple(entries)))
        for one in found.of("advised"):
            walk.setdefault(one.name, [one.current]).append(one.wanted)
        entries.append(application(found, at + 1, number))
        configuration = after(found, configuration)
    for name, values in walk.items():
        for a, b in itertools.combinations(values, 2):
            assert not same(a, b), f"{name} came back: {values}"


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(scenes, CONFIGURATIONS, st.booleans())
def test_advice_keeps_bounds_and_budget_and_says_each_key_once(
    which: list[int], configuration: dict[str, Value], sizing: bool
) -> None:
    found = advise(diagnosis(which, configuration, NOW, NOW - DAY), sizing=sizing)
    assert len({one.name for one in found.decisions}) == len(found.decisions)
    for one in found.of("advised"):
        assert one.wanted is not None
        assert not same(one.wanted, one.current)
        if isinstance(one.wanted, tuple):
            assert one.parameter.low <= one.wanted[0] <= one.parameter.high
    takes = [one for one in found.of("advised") if one.parameter.budget]
    if found.budget.limit is not None and any(_raises(one.current, one.wanted) for one in takes):
        assert found.budget.total <= found.budget.limit * (1 + 1e-9)


def _raises(current: Value | None, wanted: Value | None) -> bool:
    if not isinstance(wanted, tuple):
        return False
    return not isinstance(current, tuple) or wanted[0] > current[1]


@pytest.mark.slow
def test_every_scene_comes_to_some_advice_or_says_why_not() -> None:
    silent = []
    for number in range(len(SCENES)):
        found = advise(diagnosis([number], {}, NOW, NOW - DAY))
        if not found.decisions and not found.refused:
            silent.append(SCENES[number])
    assert len(silent) < len(SCENES) / 2  # the others' gates need more than their own tests give
