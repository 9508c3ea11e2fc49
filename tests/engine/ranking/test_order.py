"""Which cause comes first, which are a tie, and which are shown elsewhere."""

from collections.abc import Iterable, Sequence

import pytest

from engram_diagnose.engine.diagnosis import Diagnosis, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Status, point
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.engine.ranking.cause import Cause

CATALOGUE = """
schema: engram-diagnose/catalogue/v1
facts:
  op.latency.p99: {unit: s, scope: [operation, space], history: true, range: [0, null], origin: prometheus, doc: tail}
  wal.flush: {unit: s, scope: [space], range: [0, null], origin: prometheus, doc: flush}
"""
CATALOGUE += "".join(
    f"  sign.{letter}: {{type: bool, scope: [operation, space], origin: prometheus, doc: a sign}}\n"
    for letter in "abcdefg"
)
TARGETS = """
schema: engram-diagnose/targets/v1
targets:
  - {name: op.latency.p99, labels: {operation: store}, better: lower, doc: stores, target: 10ms, floor: 100ms}
"""
INFERENCE = """
schema: engram-diagnose/inference/v1
certainty: {possible: 30%, likely: 60%, near-certain: 90%}
likelihood_ratio: {weak: 2, moderate: 5, strong: 20, decisive: 100}
tie_margin: 1%
order: {severity: {info: 25%, warning: 50%, critical: 100%}, slight: 25%, full: 2, stood: 25%}
"""
HEAD = "schema: engram-diagnose/rules/v1\npack: test\n"
SYMPTOMS = """
  - {id: symptom.slow, rev: 1, kind: symptom, title: Slow, severity: warning, scope: instance,
     when: "op.latency.p99{operation=store} > target.op.latency.p99{operation=store}"}
  - {id: symptom.down, rev: 1, kind: symptom, title: Down, severity: critical, scope: instance, when: sign.g}
  - {id: symptom.odd, rev: 1, kind: symptom, title: Odd, severity: info, scope: instance, when: sign.f}
"""
STORE = scope_of({"operation": "store"})


def cause(name: str, sign: str, **fields: str) -> str:
    """A cause that concludes from one sign; other fields as a file would write them."""
    wanted = {"when_true": "likely", "scope": "instance", "explains": "[symptom.slow]"} | fields
    extra = ", ".join(f"{key}: {value}" for key, value in wanted.items())
    return f"  - {{id: cause.{name}, rev: 1, kind: cause, title: Cause, when: sign.{sign}, {extra}}}\n"


def relief(amount: str) -> str:
    return f'{{on: "op.latency.p99{{operation=store}}", relief: {amount}}}'


def rules(*causes: str, more: str = "") -> dict[str, bytes]:
    texts = {"catalogue": CATALOGUE, "targets": TARGETS, "inference": INFERENCE}
    texts["rules"] = f"{HEAD}rules:{SYMPTOMS}{''.join(causes)}{more}"
    return {f"{name}.yaml": text.encode() for name, text in texts.items()}


def facts(signs: str = "abcdefg", *, latency: float = 0.030) -> list[Fact]:
    found = [Fact(f"sign.{letter}", point(1.0)) for letter in signs]
    return [*found, Fact("op.latency.p99", point(latency), Status.MEASURED, STORE)]


def diagnosed(
    *causes: str,
    more: str = "",
    told: Iterable[Fact] | None = None,
    instance: str = "db1:7432",
    today: str = "2026-01-01",
) -> Diagnosis:
    base = expert(load(rules(*causes, more=more), today=today))
    return base.diagnose(facts() if told is None else told, Subject(instance, "db1", 1.0))


def ids(causes: Sequence[Cause]) -> list[str]:
    return [found.rule.id.removeprefix("cause.") for found in causes]


# Order


def test_the_severity_of_the_missed_target_leads() -> None:
    """A sure cause of a warning stands below a likely one of a critical symptom; its own severity plays no part."""
    found = diagnosed(
        cause("sure", "a", when_true="near-certain", severity="critical"),
        cause("likely", "b", severity="info", explains="[symptom.down]"),
        cause("idle", "c", when_true="near-certain", explains="[]"),
        cause("minor", "d", when_true="near-certain", explains="[symptom.odd]"),
    )
    assert ids(found.causes) == ["likely", "sure", "minor", "idle"]
    assert [one.severity for one in found.causes] == ["critical", "warning", "info", ""]


def test_a_guess_at_something_critical_does_not_stand_above_what_is_sure() -> None:
    found = diagnosed(
        cause("sure", "a", when_true="near-certain"),
        cause("guess", "b", when_true="possible", explains="[symptom.down]"),
    )
    assert ids(found.causes) == ["sure", "guess"]
    assert [one.score for one in found.causes] == pytest.approx([0.9 * 0.5 * 0.625 * 0.5, 0.3 * 0.5 * 0.625])


def test_what_is_just_missed_counts_less_than_what_is_missed_by_far() -> None:
    """Twice the target and more counts whole, the target itself a quarter, and between them by powers."""
    on = cause("a", "a", when_true="near-certain", explains="[symptom.down]", impact=relief("100ms"))
    scores = [diagnosed(on, told=facts(latency=latency)).causes[0].score for latency in (0.040, 0.020, 0.0141, 0.0101)]
    assert scores == pytest.approx([0.9, 0.9, 0.9 * (0.25 + 0.75 * 0.4957), 0.9 * (0.25 + 0.75 * 0.01436)], rel=1e-3)


def test_a_target_that_is_kept_by_far_is_not_missed_by_far() -> None:
    unknown = '{on: "op.latency.p99{operation=store}", relief: op.latency.p99}'  # of no operation: there is none
    one = cause("a", "a", when_true="near-certain", explains="[symptom.down]", impact=unknown)
    kept, missed = (diagnosed(one, told=facts(latency=latency)).causes[0] for latency in (0.002, 0.040))
    assert (kept.impact.known, kept.weight, missed.weight) == (False, 0.25, 1.0)


def test_how_far_a_target_is_missed_weighs_the_middle_where_it_is_not_known() -> None:
    assert diagnosed(cause("a", "a", explains="[symptom.down]")).causes[0].weight == pytest.approx(0.625)


def test_a_cause_has_the_worst_severity_of_what_it_explains() -> None:
    found = diagnosed(cause("both", "a", explains="[symptom.odd, symptom.down, symptom.slow]"))
    assert found.causes[0].severity == "critical"
    assert [firing.rule.id for firing in found.causes[0].explained] == ["symptom.down", "symptom.odd", "symptom.slow"]


def test_a_symptom_that_is_not_there_gives_no_severity() -> None:
    found = diagnosed(cause("one", "a"), told=facts("a", latency=0.004))
    assert (found.causes[0].severity, found.causes[0].explained) == ("", ())


def test_then_confidence_times_impact() -> None:
    """60 % of all, 90 % of half, 30 % of all, 90 % of what is not known: taken as half, and of a middling miss."""
    down = "[symptom.down]"
    found = diagnosed(
        cause("possible", "a", when_true="possible", impact=relief("30ms"), explains=down),
        cause("half", "b", when_true="near-certain", impact=relief("10ms"), explains=down),
        cause("silent", "c", when_true="near-certain", explains=down),
        cause("likely", "d", impact=relief("30ms"), explains=down),
    )
    assert ids(found.causes) == ["likely", "half", "possible", "silent"]
    assert [one.score for one in found.causes] == pytest.approx([0.6, 0.45, 0.3, 0.45 * 0.625])
    assert [one.impact.known for one in found.causes] == [True, True, True, False]


def test_then_the_id_and_the_scope() -> None:
    told = facts("b") + [Fact("sign.a", point(1.0), scope=scope_of({"space": space})) for space in ("y", "x")]
    found = diagnosed(cause("b", "b"), cause("a", "a", scope="[space]"), told=told)
    assert [(one.rule.id, str(one.scope)) for one in found.causes] == [
        ("cause.a", "{space=x}"),
        ("cause.a", "{space=y}"),
        ("cause.b", ""),
    ]


# Ties


def test_what_cannot_be_told_apart_is_a_tie() -> None:
    found = diagnosed(cause("a", "a"), cause("b", "b"), cause("c", "c", when_true="near-certain"))
    assert ids(found.causes) == ["c", "a", "b"]
    assert [one.tie for one in found.causes] == [None, 1, 1]


def test_three_alike_are_one_tie_and_two_pairs_are_two() -> None:
    triple = diagnosed(cause("a", "a"), cause("b", "b"), cause("c", "c"))
    assert [one.tie for one in triple.causes] == [1, 1, 1]
    pairs = diagnosed(
        cause("a", "a", when_true="possible"),
        cause("b", "b", when_true="possible"),
        cause("c", "c"),
        cause("d", "d"),
    )
    assert ids(pairs.causes) == ["c", "d", "a", "b"]
    assert [one.tie for one in pairs.causes] == [1, 1, 2, 2]


def test_scores_a_margin_apart_are_no_tie() -> None:
    """60 % of 20, 19.7 and 19.3 of 20 ms: 0.6, 0.591, 0.579; the margin is 0.01."""
    down = "[symptom.down]"
    found = diagnosed(
        cause("all", "a", impact=relief("20ms"), explains=down),
        cause("most", "b", impact=relief("19.7ms"), explains=down),
        cause("less", "c", impact=relief("19.3ms"), explains=down),
    )
    assert ids(found.causes) == ["all", "most", "less"]
    assert [one.tie for one in found.causes] == [1, 1, None]


def test_confidences_whose_intervals_do_not_meet_are_no_tie() -> None:
    """60 % of all and 90 % of two thirds score alike, but how sure they are can be told apart."""
    found = diagnosed(
        cause("a", "a", impact=relief("20ms")),
        cause("b", "b", when_true="near-certain", impact=relief("13.3334ms")),
    )
    assert found.causes[0].score == pytest.approx(found.causes[1].score, abs=0.001)
    assert [one.tie for one in found.causes] == [None, None]


def test_severities_that_differ_are_no_tie() -> None:
    found = diagnosed(cause("a", "a"), cause("b", "b", explains="[symptom.down]"))
    assert [one.tie for one in found.causes] == [None, None]


# What is worth a line


AGAINST = "[{if: sign.e, seen: weak, absent: decisive}]"
PERHAPS = "[{if: sign.e, seen: weak, absent: strong}, {if: sign.f, seen: strong, absent: weak}]"
ALL = "30ms"


def without(*signs: str) -> list[Fact]:
    """All that is told, these signs as absent."""
    told = [fact for fact in facts("abcd") if fact.name not in signs]
    return [*told, *(Fact(f"sign.{letter}", point(0.0)) for letter in signs)]


def test_what_is_unlikely_whatever_is_unknown_is_negligible() -> None:
    """60 % with a strong sign against it is 7 %, and 60 % again if the unknown one spoke for it; 1 % stays that."""
    found = diagnosed(
        cause("sure", "a", when_true="near-certain"),
        cause("open", "b", evidence=PERHAPS, impact=relief(ALL)),
        cause("wild", "c", evidence=AGAINST, impact=relief(ALL)),
        told=without("e"),
    )
    assert {one.rule.id: one.negligible for one in found.causes} == {
        "cause.sure": False, "cause.open": False, "cause.wild": True
    }  # fmt: skip


def test_a_symptom_that_only_a_negligible_cause_explains_is_not_explained() -> None:
    sure = cause("sure", "a", when_true="near-certain")
    wild = cause("wild", "c", evidence=AGAINST, explains="[symptom.down]")
    told = [*without("e"), Fact("sign.g", point(1.0))]
    found = document(diagnosed(sure, wild, told=told))
    assert [(one["rule"], one["negligible"]) for one in found["causes"]] == [
        ("cause.sure", False), ("cause.wild", True)
    ]  # fmt: skip
    assert [one["rule"] for one in found["unexplained"]] == ["symptom.down"]


def test_the_first_is_never_negligible() -> None:
    found = diagnosed(cause("wild", "c", evidence=AGAINST), told=without("e"))
    assert [one.negligible for one in found.causes] == [False]


def test_what_is_tied_with_a_likelier_one_is_not_negligible() -> None:
    """Both explain nothing of the breach: one is unlikely, of the other too much is unknown."""
    causes = (
        cause("sure", "a", when_true="near-certain", explains="[symptom.down]"),
        cause("open", "b", evidence=PERHAPS.replace("weak}", "strong}"), impact=relief("0ms")),
        cause("wild", "c", evidence=AGAINST, impact=relief("0ms")),
    )
    found = diagnosed(*causes, told=[*without("e"), Fact("sign.g", point(1.0))])
    assert [(one.tie, one.negligible) for one in found.causes] == [(None, False), (1, False), (1, False)]
    apart = diagnosed(*causes[::2], told=[*without("e"), Fact("sign.g", point(1.0))])
    assert [(one.tie, one.negligible) for one in apart.causes] == [(None, False), (None, True)]


# Masks


def test_a_masked_cause_is_shown_apart() -> None:
    found = diagnosed(cause("quota", "a", masks="[cause.locks]"), cause("locks", "b"), cause("wal", "c"))
    assert ids(found.causes) == ["quota", "wal"]
    assert [(masked.cause.rule.id, masked.by) for masked in found.masked] == [("cause.locks", ("cause.quota",))]


def test_a_masked_cause_takes_no_part_in_a_tie() -> None:
    found = diagnosed(cause("a", "a", masks="[cause.b]"), cause("b", "b"))
    assert [one.tie for one in found.causes] == [None]


@pytest.mark.parametrize(
    ("fields", "masked"),
    [({}, True), ({"when_true": "possible"}, False), ({"status": "experimental"}, False)],
)
def test_only_a_likely_cause_that_is_not_experimental_masks(fields: dict[str, str], masked: bool) -> None:
    found = diagnosed(cause("quota", "a", masks="[cause.locks]", **fields), cause("locks", "b"))
    assert bool(found.masked) is masked
    assert ("locks" in ids(found.causes)) is not masked


def test_a_cause_that_is_not_concluded_masks_nothing() -> None:
    found = diagnosed(cause("quota", "a", masks="[cause.locks]"), cause("locks", "b"), told=facts("b"))
    assert ids(found.causes) == ["locks"]
    assert not found.masked


def test_a_cause_masks_in_its_own_scope() -> None:
    """A noisy space says nothing of another."""
    told = [Fact("sign.a", point(1.0), scope=scope_of({"space": "x"}))]
    told += [Fact("sign.b", point(1.0), scope=scope_of({"space": space})) for space in ("x", "y")]
    found = diagnosed(
        cause("noisy", "a", scope="[space]", masks="[cause.slow]"), cause("slow", "b", scope="[space]"), told=told
    )
    assert [str(masked.cause.scope) for masked in found.masked] == ["{space=x}"]
    assert [(one.rule.id, str(one.scope)) for one in found.causes] == [
        ("cause.noisy", "{space=x}"),
        ("cause.slow", "{space=y}"),
    ]


@pytest.mark.parametrize("names", ["abc", "cba", "bca", "zmb"])
def test_a_cause_that_is_masked_itself_masks_nothing(names: str) -> None:
    """Of a chain the first hides the second, which then hides nothing, however they rank."""
    first, second, third = names
    found = diagnosed(
        cause(first, "a", masks=f"[cause.{second}]"),
        cause(second, "b", masks=f"[cause.{third}]", when_true="near-certain"),
        cause(third, "c"),
    )
    assert [(masked.cause.rule.id, masked.by) for masked in found.masked] == [(f"cause.{second}", (f"cause.{first}",))]
    assert set(ids(found.causes)) == {first, third}


def test_whoever_masks_is_named_only_while_it_is_shown() -> None:
    found = diagnosed(
        cause("a", "a", masks="[cause.b, cause.c]"),
        cause("b", "b", masks="[cause.c]"),
        cause("c", "c", masks="[cause.d]"),
        cause("d", "d"),
    )
    assert {masked.cause.rule.id: masked.by for masked in found.masked} == {
        "cause.b": ("cause.a",),
        "cause.c": ("cause.a",),
    }
    assert set(ids(found.causes)) == {"a", "d"}


@pytest.mark.parametrize(
    "causes",
    [
        [cause("a", "a", masks="[cause.a]")],
        [cause("a", "a", masks="[cause.b]"), cause("b", "b", masks="[cause.c]"), cause("c", "c", masks="[cause.a]")],
    ],
)
def test_causes_that_mask_one_another_are_refused(causes: list[str]) -> None:
    """Each would hide the other, and the report would name neither."""
    with pytest.raises(RuleBaseError, match=r"mask one another in a circle: cause\.a -> .*cause\.a"):
        diagnosed(*causes)


# Experimental


def test_experimental_causes_stand_apart() -> None:
    found = diagnosed(
        cause("new", "a", status="experimental", when_true="near-certain"),
        cause("old", "b"),
        cause("test", "c", status="test"),
    )
    assert ids(found.causes) == ["old", "test"]
    assert ids(found.experimental) == ["new"]


# Suppressions


def suppression(rule: str, *, scope: str = "", expires: str = "2026-12-31") -> str:
    place = f", scope: {{{scope}}}" if scope else ""
    return f"suppressions:\n  - {{rule: {rule}, reason: known, owner: team, expires: {expires}{place}}}\n"


def in_spaces(*spaces: str) -> list[Fact]:
    return [Fact("sign.a", point(1.0), scope=scope_of({"space": space})) for space in spaces]


def test_a_suppressed_finding_is_left_out_and_counted() -> None:
    found = diagnosed(cause("a", "a"), cause("b", "b"), more=suppression("cause.a"))
    assert ids(found.causes) == ["b"]
    assert [(item.firing.rule.id, item.suppression.reason) for item in found.suppressed] == [("cause.a", "known")]


def test_a_suppression_matches_its_labels_exactly() -> None:
    """`x` is not `xy`, nor the other way round."""
    found = diagnosed(
        cause("a", "a", scope="[space]"),
        more=suppression("cause.a", scope="space: x"),
        told=in_spaces("x", "xy", "X", ""),
    )
    assert [str(item.firing.scope) for item in found.suppressed] == ["{space=x}"]
    assert sorted(str(one.scope) for one in found.causes) == ["{space=X}", "{space=xy}", "{space=}"]


def test_a_suppression_for_one_space_leaves_the_instance_alone() -> None:
    found = diagnosed(cause("a", "a"), more=suppression("cause.a", scope="space: x"))
    assert ids(found.causes) == ["a"]


@pytest.mark.parametrize(("instance", "suppressed"), [("db1:7432", 1), ("db1:74320", 0), ("db2:7432", 0), ("", 0)])
def test_a_suppression_may_name_the_instance(instance: str, suppressed: int) -> None:
    found = diagnosed(cause("a", "a"), more=suppression("cause.a", scope='instance: "db1:7432"'), instance=instance)
    assert len(found.suppressed) == suppressed


def test_a_suppression_of_a_label_there_is_not_is_refused() -> None:
    """It would never match, and nobody would notice."""
    with pytest.raises(RuleBaseError, match="has no key 'spaec'"):
        diagnosed(cause("a", "a"), more=suppression("cause.a", scope="spaec: x"))


@pytest.mark.parametrize(("today", "suppressed"), [("2026-12-31", 1), ("2027-01-01", 0)])
def test_a_suppression_ends_with_its_last_day(today: str, suppressed: int) -> None:
    found = diagnosed(cause("a", "a"), more=suppression("cause.a"), today=today)
    assert len(found.suppressed) == suppressed


def test_what_did_not_fire_is_not_suppressed() -> None:
    found = diagnosed(cause("a", "a"), more=suppression("cause.a"), told=[Fact("sign.a", point(0.0))])
    assert not found.suppressed


def test_a_suppressed_symptom_lends_no_severity() -> None:
    found = diagnosed(cause("a", "a"), more=suppression("symptom.slow"))
    assert found.causes[0].severity == ""
    assert [item.firing.rule.id for item in found.suppressed] == ["symptom.slow"]


def test_a_suppressed_cause_was_tested_all_the_same() -> None:
    found = diagnosed(cause("a", "a"), cause("b", "b"), more=suppression("cause.a"), told=facts("a"))
    assert (found.coverage.causes, found.coverage.testable) == (2, 1)


# Symptoms


def test_missed_targets_come_most_severe_first() -> None:
    assert [firing.rule.id for firing in diagnosed().missed()] == ["symptom.down", "symptom.slow", "symptom.odd"]


def test_a_symptom_touches_causes_of_the_scopes_around_and_within_it() -> None:
    more = (
        "  - {id: symptom.space, rev: 1, kind: symptom, title: S, severity: critical, scope: [space], when: sign.c}\n"
    )
    told = [Fact("sign.c", point(1.0), scope=scope_of({"space": "x"})), Fact("sign.b", point(1.0))]
    told += in_spaces("x", "y")
    found = diagnosed(
        cause("here", "a", scope="[space]", explains="[symptom.space]"),
        cause("whole", "b", explains="[symptom.space]"),
        more=more,
        told=told,
    )
    severities = {(one.rule.id, str(one.scope)): one.severity for one in found.causes}
    assert severities == {
        ("cause.here", "{space=x}"): "critical",
        ("cause.here", "{space=y}"): "",
        ("cause.whole", str(INSTANCE)): "critical",
    }
