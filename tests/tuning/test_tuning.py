"""From a bundle to a patch: what the bundle remembers of its configuration, and what earlier changes came to."""

import pytest

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.engine.advice.record import Application, Prediction, Realised
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.rulebase import load_rules
from engram_diagnose.tuning import History, Tuning, Wish, configuration_of, digest, tune

NOW = 1_800_000_000.0
DAY = 86_400.0
CONFIGURATION = "[wal]\nsync_mode = 'immediate'\nflush_interval_ms = 10\n"
MEASURED: dict[str, float | str] = {
    "op.latency.p99{operation=store}": 0.2,
    "wal.bytes_written@rate_5m": 40e6,
    "store.bytes@rate_5m": 4e6,
    "store.rate": 900.0,
    "wal.entries_per_flush": 1.0,
    "wal.flush.p99": 0.15,
    "host.attainable.fsync_p50": 0.05,
    "process.uptime": DAY,
}


@pytest.fixture(scope="module")
def builtin() -> Expert:
    return expert(load_rules())


def tuned(builtin: Expert, *, modified: float | None = None, history: History | None = None, **wish: bool) -> Tuning:
    facts = []
    for name, value in MEASURED.items():
        reference = parse_reference(name)
        known = value if isinstance(value, str) else point(float(value))
        facts.append(Fact(reference.name, known, scope=scope_of(dict(reference.labels)), source="test", time=NOW))
    detail = digest(CONFIGURATION.encode()) + (f" modified {modified:.3f}" if modified is not None else "")
    answer = Answer("config", "engram.toml", NOW, "elsewhere", CONFIGURATION, "", detail)
    bundle = Bundle(NOW, dialect="guide", instance="db1:7432", answers=(answer,))
    wanted = Wish(stated=tuple(facts), **wish)
    return tune(bundle, builtin, configuration_of(bundle, ""), wanted, now=NOW, history=history or History())


def test_a_configuration_that_is_older_than_the_server_is_the_base(builtin: Expert) -> None:
    found = tuned(builtin, modified=NOW - 2 * DAY)
    assert b"'batch'" in found.result
    assert not found.document["file"]["masked"]


def test_a_bundle_remembers_that_its_configuration_is_newer_than_the_server(builtin: Expert) -> None:
    found = tuned(builtin, modified=NOW - DAY / 2)
    assert not found.changes
    assert {"--in-effect" in one["reason"] for one in found.document["held"]} == {True}
    assert tuned(builtin, modified=NOW - DAY / 2, in_effect=True).changes


def test_later_predictions_are_scaled_by_what_earlier_ones_came_to(builtin: Expert) -> None:
    (plain,) = tuned(builtin).predictions
    taught = tuned(builtin, history=half_as_good(plain, cases=3))
    (scaled,) = taught.predictions
    assert plain.low < scaled.low < scaled.measured
    (effect,) = [one for one in taught.document["effects"] if one["rule"] == plain.rule]
    assert effect["learned_from"] == 3


def test_two_cases_teach_nothing(builtin: Expert) -> None:
    (plain,) = tuned(builtin).predictions
    assert tuned(builtin, history=half_as_good(plain, cases=2)).predictions == (plain,)


def half_as_good(promised: Prediction, *, cases: int) -> History:
    """A ledger of other servers, on which the same cause brought half of what was promised."""
    relief = promised.measured - (promised.low + promised.high) / 2
    realised = tuple(
        Realised(number, NOW - number * DAY, "other:7432", promised.on, promised.scope, promised.rule, "improved",
                 promised.measured, promised.measured - relief / 2, -relief * 0.6, -relief * 0.4,
                 promised.low, promised.high)
        for number in range(1, cases + 1)
    )  # fmt: skip
    applications: tuple[Application, ...] = ()
    return History(applications, realised)
