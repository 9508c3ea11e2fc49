"""How answers become facts, and absences reasons."""

from collections.abc import Mapping

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.figures import (
    Between,
    Found,
    Inapplicable,
    Missing,
    Proxy,
    UnparsedError,
    rate,
    share,
)
from engram_diagnose.collectors.parse.recipe import Answers, Key, Pair, Recipe, facts_of
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.engine.facts.scope import scope_of


def answer(name: str, body: str | None, time: float = 1.0, reason: str = "") -> Answer:
    return Answer("host", name, time, "host-a", body, reason, "why")


def double(text: str) -> Mapping[Key, Found]:
    if not text.isdigit():
        raise UnparsedError(f"{text!r} is not a number")
    return {"mem.rss": 2.0 * int(text)}


DOUBLE = Recipe(("mem.rss",), double, texts=("/proc/x",))


def cook(recipe: Recipe, *answers: Answer) -> list[Fact]:
    return facts_of([recipe], Answers(answers))


def test_the_newest_answer_counts() -> None:
    (fact,) = cook(DOUBLE, answer("/proc/x", "4", 9.0), answer("/proc/x", "3", 2.0))
    assert fact.value == (8.0, 8.0)
    assert (fact.source, fact.host, fact.time, fact.window) == ("/proc/x", "host-a", 9.0, 0.0)


def test_a_source_that_nobody_asked_is_not_collected() -> None:
    (fact,) = cook(DOUBLE)
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.NOT_COLLECTED
    assert fact.get_by


def test_the_reason_of_an_absent_source_is_the_facts() -> None:
    (fact,) = cook(DOUBLE, answer("/proc/x", None, reason="PTRACE_DENIED"))
    assert fact.unknown is not None
    assert (fact.unknown.reason, fact.unknown.detail) == (Reason.PTRACE_DENIED, "why")
    assert "root" in fact.get_by


def test_a_reason_that_is_none_is_unparsed() -> None:
    (fact,) = cook(DOUBLE, answer("/proc/x", None, reason="BORED"))
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.UNPARSED


def test_text_that_cannot_be_read_is_unparsed_with_its_source() -> None:
    (fact,) = cook(DOUBLE, answer("/proc/x", "many"))
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.UNPARSED
    assert "/proc/x" in fact.unknown.detail
    assert "many" in fact.unknown.detail


def grown(pair: Pair) -> Mapping[Key, Found]:
    return {"mem.refault_rate": rate(int(pair.before), int(pair.after), pair.seconds)}


GROWN = Recipe(("mem.refault_rate",), grown, pairs=("/proc/y",))


def test_a_rate_comes_from_the_first_and_the_last_snapshot() -> None:
    middle = answer("/proc/y", "500", 3.0)
    (fact,) = cook(GROWN, answer("/proc/y", "10", 1.0), middle, answer("/proc/y", "50", 5.0))
    assert fact.value == (10.0, 10.0)
    assert fact.window == 4.0


def test_one_snapshot_is_too_few() -> None:
    (fact,) = cook(GROWN, answer("/proc/y", "10"))
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.TOO_FEW_SAMPLES


def test_a_counter_that_fell_was_reset() -> None:
    (fact,) = cook(GROWN, answer("/proc/y", "50", 1.0), answer("/proc/y", "10", 5.0))
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.RESET


def test_two_snapshots_of_one_instant_have_no_rate() -> None:
    assert rate(1, 2, 0.0) == Missing(Reason.TOO_FEW_SAMPLES, "the two snapshots are of one instant")


def test_a_share_of_nothing_is_not_zero() -> None:
    assert share(0, 0, "nothing happened") == Missing(Reason.TOO_FEW_SAMPLES, "nothing happened")


def test_what_the_source_does_not_say_is_absent() -> None:
    recipe = Recipe(("mem.rss", "mem.swap"), double, texts=("/proc/x",))
    facts = {fact.name: fact for fact in cook(recipe, answer("/proc/x", "4"))}
    unknown = facts["mem.swap"].unknown
    assert facts["mem.rss"].known
    assert unknown is not None
    assert unknown.reason is Reason.SOURCE_ABSENT


def test_every_kind_of_finding_is_a_fact_of_its_kind() -> None:
    device = scope_of({"device": "sda"})
    found: dict[Key, Found] = {
        "a": Proxy(1.0, "the real one"),
        "b": Between(1.0, 2.0),
        "c": "text",
        "d": Inapplicable("one node"),
        "e": float("nan"),
        ("f", device): 3.0,
    }
    recipe = Recipe(tuple("abcdef"), lambda _: found, texts=("/proc/x",))
    facts = {fact.name: fact for fact in cook(recipe, answer("/proc/x", ""))}
    assert (facts["a"].status, facts["a"].proxy_of) == (Status.PROXY, "the real one")
    assert facts["b"].value == (1.0, 2.0)
    assert facts["c"].value == "text"
    assert facts["d"].status is Status.NOT_APPLICABLE
    assert facts["e"].unknown is not None
    assert facts["e"].unknown.reason is Reason.NAN
    assert facts["f"].scope == device


def test_an_optional_source_may_be_missing() -> None:
    def both(text: str, extra: str) -> Mapping[Key, Found]:
        return {"mem.thp_mode": text + extra}

    recipe = Recipe(("mem.thp_mode",), both, texts=("/proc/x",), optional=("/proc/z",))
    (fact,) = cook(recipe, answer("/proc/x", "a"))
    assert fact.value == "a"
