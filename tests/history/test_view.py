"""`tune --history` tells what was changed, what was predicted and what was found, newest first."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised
from engram_diagnose.engine.facts.fact import point
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of
from engram_diagnose.history import Ledger, open_ledger
from engram_diagnose.history.view import history_document, history_text
from engram_diagnose.render.layout import cells
from engram_diagnose.rulebase import load_rules

CATALOGUE = load_rules().catalogue
RULE = "storage.wal-write-amplification"
STORES = scope_of({"operation": "store", "space": "default"})
CHANGES = (
    KeyChange("config.wal.sync_mode", "wal.sync_mode", "immediate", "batch", RULE),
    KeyChange("config.wal.buffer_size", "wal.buffer_size_mb", point(67108864.0), point(268435456.0), RULE),
    KeyChange("config.wal.flush_interval", "wal.flush_interval_ms", None, point(1.0), RULE),
    KeyChange("config.numa.aware", "numa.numa_aware", point(0.0), point(1.0), "numa.remote-memory"),
)
PREDICTIONS = (
    Prediction("op.latency.p99", STORES, "ms", "lower", 0.093, 0.004, 0.02, RULE),
    Prediction("store.rate", INSTANCE, "/s", "higher", 800.0, 1200.0, 1200.0, RULE),
)
APPLICATION = Application(1_790_000_000.0, "a:7432", "/etc/engram/engram.toml", "sha256:00", "sha256:01", "guide",
                          CHANGES, PREDICTIONS, "intended", "…")  # fmt: skip
FOUND = Realised(0, 1_790_001_000.0, "a:7432", "op.latency.p99", STORES, RULE, "improved", 0.093, 0.012, -0.085,
                 -0.078, 0.004, 0.02)  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "history.db") as opened:
        yield opened


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    first = ledger.intend(APPLICATION)
    ledger.mark(first, "applied")
    ledger.intend(replace(APPLICATION, at=APPLICATION.at + 86400, instance="b:7432", predictions=()))
    stray = replace(FOUND, instance="c:7432", rule="", on="wal.lag", predicted_low=None, predicted_high=None)
    ledger.add_realised([replace(FOUND, application=first), stray])
    return ledger


def text(ledger: Ledger, instance: str = "", columns: int = 80) -> str:
    return history_text(history_document(ledger, instance, catalogue=CATALOGUE), columns=columns)


def test_the_whole_history_reads_newest_first(filled: Ledger) -> None:
    assert text(filled, "a:7432") == (
        "2026-09-21 14:13:20 UTC  applied\n"
        "   file        /etc/engram/engram.toml\n"
        "   instance    a:7432\n"
        '   4 keys      wal.sync_mode: "immediate" -> "batch"\n'
        "                 (storage.wal-write-amplification)\n"
        "               wal.buffer_size_mb: 64 MiB -> 256 MiB\n"
        "                 (storage.wal-write-amplification)\n"
        "               wal.flush_interval_ms: not set -> 1,000 ms\n"
        "                 (storage.wal-write-amplification)\n"
        "               numa.numa_aware: false -> true  (numa.remote-memory)\n"
        "   effect      op.latency.p99{operation=store, space=default}: before 93 ms;\n"
        "                 predicted 4 ms to 20 ms; found 12 ms: improved\n"
        "               store.rate: before 800/s; predicted 1,200/s; not verified yet\n"
    )
    whole = text(filled)
    assert whole.index("2026-09-22") < whole.index("2026-09-21") < whole.index("VERIFIED WITHOUT A PATCH")
    assert "nothing was predicted" in whole


def test_an_empty_history_says_how_entries_get_there(ledger: Ledger) -> None:
    said = text(ledger, "a:7432")
    assert said.startswith("The history is empty for a:7432.\n")
    assert "tune --apply" in said
    assert "verify" in said


def test_the_document_has_base_units_and_words(filled: Ledger) -> None:
    document = history_document(filled, "a:7432", catalogue=CATALOGUE)
    (application,) = document["applications"]
    assert application["changes"][1] == {
        "parameter": "config.wal.buffer_size",
        "key": "wal.buffer_size_mb",
        "before": 67108864.0,
        "after": 268435456.0,
        "text": "64 MiB -> 256 MiB",
        "rule": RULE,
    }
    assert application["figures"][0]["predicted"] == [0.004, 0.02]
    assert application["figures"][0]["change"] == [-0.085, -0.078]
    assert application["figures"][1]["verdict"] is None
    json.dumps(document, allow_nan=False)


def test_without_a_catalogue_settings_are_in_base_units(filled: Ledger) -> None:
    document = history_document(filled, "a:7432")
    assert [change["text"] for change in document["applications"][0]["changes"]] == [
        '"immediate" -> "batch"',
        "67,108,864 -> 268,435,456",
        "not set -> 1",
        "0 -> 1",
    ]


def test_an_interval_without_an_end_is_null_in_the_document(filled: Ledger) -> None:
    filled.add_realised([replace(FOUND, application=1, verdict="inconclusive", low=float("-inf"), after=None)])
    document = history_document(filled, "a:7432")
    assert document["applications"][0]["figures"][0]["change"] == [None, -0.078]
    json.dumps(document, allow_nan=False)


def test_what_was_verified_again_shows_the_last_verdict(filled: Ledger) -> None:
    filled.add_realised([replace(FOUND, application=1, verdict="worse", after=0.2, at=FOUND.at + 60)])
    (figure, _) = history_document(filled, "a:7432")["applications"][0]["figures"]
    assert figure["verdict"] == "worse"


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_no_line_is_wider_than_the_window(filled: Ledger, columns: int) -> None:
    assert max(map(cells, text(filled, columns=columns).splitlines())) <= columns


def test_hostile_names_show_and_do_nothing(ledger: Ledger) -> None:
    nasty = "\x1b[31m\n\u202ered"
    ledger.intend(replace(APPLICATION, file=nasty, instance=nasty, changes=(replace(CHANGES[0], before=nasty),)))
    said = text(ledger)
    assert "\\x1b[31m\\n\\u202ered" in said
    assert said.replace("\n", "").isprintable()


def test_colour_only_adds_escapes(filled: Ledger) -> None:
    document = history_document(filled, catalogue=CATALOGUE)
    assert "\x1b[" in history_text(document, color=True)
    assert "\x1b[" not in history_text(document)


def test_a_unit_nobody_knows_is_no_reason_to_fail(ledger: Ledger) -> None:
    ledger.intend(replace(APPLICATION, predictions=(replace(PREDICTIONS[1], unit="furlong"),)))
    assert "before 800; predicted 1,200" in text(ledger)
