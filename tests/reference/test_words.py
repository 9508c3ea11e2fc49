"""Conditions in words say what the rule tests, and as written they load again."""

import pytest
import yaml

from engram_diagnose.engine.language.expression import All, AnyOf, AtLeast, Condition, Leaf, Not
from engram_diagnose.engine.language.parser import parse_condition
from engram_diagnose.reference.words import condition_words, named_in, one_line, phrase, written
from engram_diagnose.rulebase import load_rules

A, B, C = (
    Leaf(parse_condition(text), text) for text in ("cpu.busy > 70%", "simd.available", 'fs.type in ["zfs", "btrfs"]')
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wal.flush.p99 >= 5ms", "wal.flush.p99 is at least 5 ms"),
        ("wal.flush.p99 < 2 * 3ms", "wal.flush.p99 is below 2 * 3 ms"),
        ('config.wal.sync_mode != "batch"', 'config.wal.sync_mode is not "batch"'),
        ("cpu.busy between 10% and 20%", "cpu.busy lies between 10 % and 20 %"),
        ('fs.type in ["zfs", "btrfs"]', 'fs.type is one of "zfs", "btrfs"'),
        ('host.model contains "Xeon"', 'host.model contains "Xeon"'),
        ("any(device, disk.await > 20ms)", "for some device, disk.await is above 20 ms"),
        ("all(node, cpu.node_busy_share < 50%)", "for every node, cpu.node_busy_share is below 50 %"),
        ("known(membw.theoretical)", "membw.theoretical is known"),
        ("simd.available", "simd.available is true"),
        ("cpu.busy > 70% for 3m", "cpu.busy@min_3m is above 70 %"),
    ],
)
def test_a_test_is_put_into_words(text: str, words: str) -> None:
    assert phrase(parse_condition(text)) == words


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        (All((A, B)), "cpu.busy is above 70 % and simd.available is true"),
        (AnyOf((All((A, B)), C)), "(cpu.busy is above 70 % and simd.available is true) or fs.type is one of"),
        (AtLeast(2, (A, B, C)), "at least 2 of: cpu.busy is above 70 %, simd.available is true, fs.type"),
        (Not(A), "not (cpu.busy is above 70 %)"),
    ],
)
def test_a_condition_fits_one_line(condition: Condition, line: str) -> None:
    assert one_line(condition).startswith(line)


def test_a_condition_as_lines_shows_what_belongs_to_what() -> None:
    lines = list(condition_words(All((A, AnyOf((B, Not(C)))))))
    assert [depth for depth, _ in lines] == [0, 1, 1, 2, 2, 3]
    assert lines[0] == (0, "all of these:")
    assert lines[2] == (1, "one of these:")


def test_every_shipped_condition_is_written_as_yaml_that_says_the_same() -> None:
    rules = load_rules().rules.rules.values()
    conditions = [condition for rule in rules for condition in (rule.applies, rule.when) if condition is not None]
    assert len(conditions) > 100
    for condition in conditions:
        assert yaml.safe_load(written(condition)) == plain(condition)


def plain(condition: Condition) -> object:
    """What YAML makes of a condition."""
    match condition:
        case Leaf(text=text):
            return " ".join(text.split())
        case Not(item):
            return {"not": plain(item)}
        case All(items):
            return {"all": [plain(item) for item in items]}
        case AnyOf(items):
            return {"any": [plain(item) for item in items]}
        case AtLeast(count, items):
            return {"at_least": {"n": count, "of": [plain(item) for item in items]}}


def test_names_are_spelt_out_once() -> None:
    rule = load_rules().rules.rules["storage.wal-write-amplification"]
    assert rule.when is not None
    assert named_in([rule.when, rule.when]) == {"amplification": "wal.bytes_written@rate_5m / store.bytes@rate_5m"}
