"""What an aggregate reads stands in narrower scopes, and counts wherever facts are asked for."""

from typing import Literal

from engram_diagnose.engine.explanation.trace import trace
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Unknown, point, unknown_fact
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.compiled import compile_rules
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.reads import facts_read, reads_of
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.expression import Aggregated, Comparison, Leaf, Number, Reference
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Evidence, Rule
from engram_diagnose.engine.language.vocabulary import Vocabulary
from engram_diagnose.engine.ranking.confidence import confidence
from engram_diagnose.engine.ranking.coverage import untestable

SDA, SDB = scope_of({"device": "sda"}), scope_of({"device": "sdb"})
ON_SDA = Reference("disk.await", SDA.labels)
WORST = Aggregated("max", "device", Reference("disk.await"))
SLOW = Leaf(Comparison(">", WORST, Number(1.0, UNITS["s"])))
MARK = Mark("test", 1, 1)
DENIED = unknown_fact("disk.await", Reason.PTRACE_DENIED, "/sys", scope=SDA, get_by="run as root")
SCALES = Scales({"possible": 0.3, "likely": 0.6, "near-certain": 0.9},
                {"weak": 2.0, "moderate": 5.0, "strong": 20.0, "decisive": 100.0}, 0.01)  # fmt: skip


def on(device: str, value: float, status: Status = Status.MEASURED) -> Fact:
    proxy_of = "wait" if status is Status.PROXY else ""
    return Fact("disk.await", point(value), status, scope_of({"device": device}), proxy_of=proxy_of)


def test_an_aggregate_reads_every_scope_it_ranges_over_and_not_its_own() -> None:
    facts = [on("sda", 1.0), on("sdb", 2.0), Fact("disk.await", point(9.0))]
    found = list(facts_read(reads_of([WORST]), Seen(Memory(facts))))
    assert found == [(ON_SDA, facts[0]), (Reference("disk.await", SDB.labels), facts[1])]


def test_an_aggregate_that_ranges_over_nothing_reads_its_own_scope() -> None:
    host = unknown_fact("disk.await", Reason.NO_TOOL)
    assert list(facts_read([WORST], Seen(Memory([host])))) == [(Reference("disk.await"), host)]
    assert list(facts_read([WORST], Seen(Memory()))) == [(Reference("disk.await"), None)]


def test_an_aggregate_in_an_aggregate_names_both_labels() -> None:
    scope = scope_of({"operation": "store", "space": "a"})
    fact = Fact("op.rate", point(1.0), scope=scope)
    nested = Aggregated("sum", "operation", Aggregated("max", "space", Reference("op.rate")))
    assert list(facts_read([nested], Seen(Memory([fact])))) == [(Reference("op.rate", scope.labels), fact)]


def test_a_proxy_inside_an_aggregate_weakens_gate_and_evidence() -> None:
    rule = Rule("r", 1, "cause", "", "test", MARK, when=SLOW, when_true="likely",
                evidence=(Evidence(SLOW, "strong", "none"),))  # fmt: skip
    for status, proxy in ((Status.PROXY, True), (Status.MEASURED, False)):
        seen = Seen(Memory([on("sda", 0.5), on("sdb", 2.0, status)]))
        found = confidence(rule, seen, SCALES, lambda name: name)
        assert (found.prior_weakened, found.pieces[0].proxy) == (proxy, proxy)


def derived(*facts: Fact, function: Literal["max", "sum"] = "max") -> Fact | None:
    value = Aggregated(function, "device", Reference("disk.await"))
    rule = Rule("derive.worst", 1, "derive", "", "test", MARK, outputs={"": "disk.worst"}, value=value)
    return infer(compile_rules({rule.id: rule}), facts).memory.lookup("disk.worst")


def test_what_is_derived_from_a_proxy_in_an_aggregate_is_a_proxy() -> None:
    fact = derived(on("sda", 0.5), on("sdb", 2.0, Status.PROXY))
    assert fact is not None
    assert (fact.status, fact.proxy_of) == (Status.PROXY, "wait")


def test_what_is_derived_from_an_unknown_in_an_aggregate_says_why() -> None:
    fact = derived(DENIED, on("sdb", 0.5), function="sum")
    assert fact is not None
    assert fact.unknown == Unknown(Reason.PTRACE_DENIED, "disk.await{device=sda}: /sys")


def test_what_is_missing_in_an_aggregate_is_named_with_its_reason() -> None:
    rule = Rule("r", 1, "cause", "", "test", MARK, when=SLOW)
    seen = Seen(Memory([DENIED, on("sdb", 0.5)]))
    (missing,) = untestable(Firing(rule, seen.scope, "unknown"), seen, lambda _: "start the collector").missing
    assert (missing.reference, missing.unknown.reason, missing.get_by) == (ON_SDA, Reason.PTRACE_DENIED, "run as root")


def test_an_aggregate_over_nothing_misses_what_it_asks_for() -> None:
    rule = Rule("r", 1, "cause", "", "test", MARK, when=SLOW)
    seen = Seen(Memory([Fact("disk.await", point(1.0))]))
    (missing,) = untestable(Firing(rule, seen.scope, "unknown"), seen, lambda _: "start the collector").missing
    assert (str(missing.reference), missing.unknown.reason) == ("disk.await", Reason.NOT_COLLECTED)


def test_a_trace_shows_the_scopes_of_an_aggregate_and_not_what_it_passes_over() -> None:
    seen = Seen(Memory([on("sda", 1.0), on("sdb", 2.0), Fact("disk.await", point(9.0))]))
    (test,) = trace(SLOW, seen, Vocabulary(Catalogue({}, {}, ())))
    assert [str(reading.reference) for reading in test.readings] == ["disk.await{device=sda}", "disk.await{device=sdb}"]
