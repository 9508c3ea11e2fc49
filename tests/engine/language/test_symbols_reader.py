"""The kinds of functions are read with their reasons, and what is wrong with them is said at its place."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.engine.language.symbols_reader import read_symbols
from engram_diagnose.rulebase import load_rules

ROOT = Path(__file__).parents[3]
NAME = "tables/symbols.yaml"
TEXT = (ROOT / "rules" / NAME).read_text(encoding="utf-8")
CATALOGUE = load_rules(thorough=False).catalogue


def test_the_shipped_kinds_are_shares_that_a_profile_gives():
    kinds = read_symbols({NAME: TEXT}, CATALOGUE)
    assert [kind.fact for kind in kinds] == [
        "io.fsync_symbol_share", "lock.spin_symbol_share", "simd.embedding_symbol_share",
    ]  # fmt: skip
    assert [kind.kernel for kind in kinds] == [True, False, False]
    assert {CATALOGUE.facts[kind.fact].origin for kind in kinds} == {"perf"}


def test_the_published_schema_takes_the_shipped_kinds_and_no_unknown_key():
    schema = json.loads((ROOT / "rules/schema/symbols-v1.json").read_text(encoding="utf-8"))
    document = yaml.safe_load(TEXT)
    jsonschema.validate(document, schema)
    document["symbols"]["io.fsync_symbol_share"]["whim"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("io.fsync_symbol_share", "io.fsink_symbol_share", "unknown fact io.fsink_symbol_share"),
        ("'^vfs_fsync'", "'^vfs_(fsync'", "is no regular expression"),
        ("'^vfs_fsync'", "'(?i)vfs'", "is no regular expression"),
        ("kernel: true", "kernel: perhaps", "kernel"),
        ("    kernel: true", "    colonel: true", "colonel"),
        ("symbols:\n", "simbols:\n", "simbols"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(old, new, message):
    with pytest.raises(RuleBaseError) as caught:
        read_symbols({NAME: TEXT.replace(old, new, 1)}, CATALOGUE)
    assert [problem for problem in caught.value.problems if message in problem.message and problem.mark.file == NAME]


def test_a_sites_own_kinds_take_the_place_of_the_shipped_ones():
    site = "schema: engram-diagnose/symbols/v1\nsymbols:\n  lock.spin_symbol_share: {reason: ours, names: ['^grab$']}\n"
    (kind,) = read_symbols({NAME: TEXT, "site.yaml": site.replace("{reason: ours, names: ['^grab$']}",
        "\n    reason: ours\n    names:\n      - '^grab$'")}, CATALOGUE)  # fmt: skip
    assert kind.names.search("grab")


def test_without_the_file_the_installation_is_incomplete():
    with pytest.raises(RuleBaseError, match="engram-diagnose/symbols/v1"):
        read_symbols({}, CATALOGUE)
