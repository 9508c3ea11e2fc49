"""docs/reference/rule-language.md leaves out nothing that the language has."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engram_diagnose.engine.facts.scope import DIMENSIONS
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.language.cases import OUTCOMES
from engram_diagnose.engine.language.conditions import read_condition
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.parser import AGGREGATES, FUNCTIONS
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.rule import CERTAINTIES, KINDS, SEVERITIES, STATUSES, STRENGTHS, WHENS
from engram_diagnose.engine.language.source import Mapping, Node, Sequence, parse_document
from engram_diagnose.engine.language.tokens import COMPARISONS, MAX_TOKENS, WORDS
from engram_diagnose.engine.language.vocabulary import Vocabulary
from engram_diagnose.rulebase import builtin_files, load_rules

FREE = ("given", "change", "derived", "advice", "set", "outputs", "params", "let", "targets")
"""Below these keys stand names of facts, or the author's own."""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page."""
    return (root / "docs" / "reference" / "rule-language.md").read_text(encoding="utf-8")


def words(page: str) -> set[str]:
    """Every word in code, spans and blocks alike."""
    return set(re.findall(r"[\w.%/µ-]+", " ".join(re.findall(r"`[^`\n]+`|```.*?```", page, re.DOTALL))))


@pytest.mark.parametrize(
    "names",
    [KINDS, STATUSES, SEVERITIES, STRENGTHS, CERTAINTIES, OUTCOMES, DIMENSIONS, tuple(FUNCTIONS), AGGREGATES, WORDS],
)
def test_every_word_of_the_language_is_on_the_page(page: str, names: tuple[str, ...]) -> None:
    assert set(names) - words(page) == set()


@pytest.mark.parametrize("text", [*WHENS, *COMPARISONS, f"{MAX_TOKENS} tokens"])
def test_every_text_of_the_language_is_on_the_page(page: str, text: str) -> None:
    assert text in page


def test_every_unit_is_on_the_page(page: str) -> None:
    table = page.partition("### Units")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([^`]+)`", table))
    rates = {f"{unit}/s" for unit in named if unit in UNITS}
    assert {unit for unit in UNITS if unit} - named - rates == set()


def keys(node: Node) -> Iterator[str]:
    """Every key of the language in a tree."""
    if isinstance(node, Sequence):
        for item in node.items:
            yield from keys(item)
    elif isinstance(node, Mapping):
        for key, inner in node.values.items():
            yield key
            if key not in FREE:
                yield from keys(inner)


def test_every_key_that_a_built_in_rule_uses_is_on_the_page(page: str) -> None:
    used: set[str] = set()
    for name, data in builtin_files().items():
        root = parse_document(data.decode(), file=name, problems=Problems())
        if root is not None and "rules" in root.values:
            used |= set(keys(root))
    assert len(used) > 40
    assert used - words(page) == set()


def test_the_examples_of_conditions_in_the_table_are_sound(page: str) -> None:
    loaded = load_rules()
    problems = Problems()
    context = Context(Vocabulary(loaded.catalogue, loaded.rules.rules), problems, (), {}, {})
    for text in ('config.wal.sync_mode == "batch"', "simd.available", "config.numa.aware == false",
                 "any(device, disk.util_share > 90%)", "op.latency.p99 > target.op.latency.p99"):  # fmt: skip
        assert text in page
        node = parse_document(f"when: '{text}'", file="page", problems=problems)
        assert node is not None
        assert read_condition(node.values["when"], context) is not None
    assert problems.errors == []
