"""What `rules new` writes works as it stands."""

import json
from pathlib import Path

import pytest

from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.rule import KINDS
from engram_diagnose.engine.language.scaffold import scaffold
from engram_diagnose.engine.language.schema import schema_problems
from engram_diagnose.engine.language.source import parse_document
from engram_diagnose.engine.rule_tests import missing_metadata, run_tests
from engram_diagnose.rulebase import builtin_files

BUILTIN = builtin_files()
SCHEMA = json.loads((Path(__file__).parents[3] / "rules" / "schema" / "rules-v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_rule_passes_every_check_and_its_own_tests(kind: str) -> None:
    text = scaffold("site.my-rule", kind, pack="site.fra1", owner="storage")
    loaded = load(BUILTIN, [{"new.yaml": text.encode()}])
    assert loaded.warnings == ()
    rule = loaded.rules.rules["site.my-rule"]
    assert (rule.kind, rule.pack, rule.owner) == (kind, "site.fra1", "storage")
    results = run_tests(expert(loaded), [rule])
    assert {result.name.partition(":")[0] for result in results} >= {"fires", "unknown"}
    assert [result.failure for result in results if result.failure] == []
    assert [what for _, what in missing_metadata({rule.id: rule})] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_rule_fits_the_published_schema(kind: str) -> None:
    root = parse_document(scaffold("site.my-rule", kind), file="new.yaml", problems=Problems())
    assert root is not None
    assert schema_problems(root, SCHEMA) == []


def test_new_rules_of_every_kind_live_side_by_side() -> None:
    pack = {f"{kind}.yaml": scaffold(f"site.a-{kind}", kind).encode() for kind in KINDS}
    assert load(BUILTIN, [pack]).warnings == ()


def test_every_part_has_a_word_and_no_line_is_long() -> None:
    for kind in KINDS:
        text = scaffold("site.my-rule", kind)
        assert "#" in text
        assert "<" not in text.replace(" < ", "")
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("rule_id", ["norule", "Site.rule", "site.", "site rule", "site..x", "../../etc/passwd", ""])
def test_what_is_no_id_is_refused(rule_id: str) -> None:
    with pytest.raises(ValueError, match="is not a rule's id"):
        scaffold(rule_id, "cause")


def test_a_kind_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="it is one of symptom, cause, table, derive"):
        scaffold("site.x", "reason")
