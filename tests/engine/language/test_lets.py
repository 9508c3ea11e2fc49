"""The names a rule gives to expressions."""

import pytest

from engram_diagnose.engine.facts.catalogue import Catalogue, FactSpec
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import Comparison, Named, Number, Reference
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.lets import MAX_LETS, is_local_name, read_lets
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.source import Mapping, Scalar, parse_document
from engram_diagnose.engine.language.vocabulary import Vocabulary

FACTS = {name: FactSpec(name, "number", UNITS["s"], "") for name in ("a.b", "a.c")}
VOCABULARY = Vocabulary(Catalogue(FACTS, {}, ()))


def read(text: str) -> tuple[Context, list[str]]:
    """The context after reading a `let:`, and what was said."""
    problems = Problems()
    root = parse_document(text, file="f.yaml", problems=problems)
    assert isinstance(root, Mapping)
    context = Context(VOCABULARY, problems, (), {}, {})
    read_lets(Fields(root, "the rule", problems), context)
    return context, [error.message for error in problems.errors]


def test_a_name_may_use_another_that_stands_behind_it() -> None:
    forward, errors = read("let:\n  half: whole / 2\n  whole: a.b + a.c\n")
    backward, _ = read("let:\n  whole: a.b + a.c\n  half: whole / 2\n")
    assert errors == []
    assert forward.lets == backward.lets


def test_words_in_quotes_and_parts_of_facts_are_no_names() -> None:
    assert read("let:\n  b: a.b\n  c: max(a.c, b)\n  max: min(b, c)\n  t: '\"t\"'\n")[1] == []


@pytest.mark.parametrize("text", ["a: a + 1", "a: b\n  b: a", "a: b\n  b: c\n  c: a\n  d: a"])
def test_a_name_cannot_stand_for_itself(text: str) -> None:
    _, errors = read(f"let:\n  {text}\n")
    assert len(errors) == 1
    assert errors[0].startswith("this stands for itself: a -> ")


def test_what_uses_an_unreadable_name_is_dropped_without_another_word() -> None:
    context, errors = read("let:\n  bad: a.x\n  good: a.b\n  worse: bad * 2\n")
    assert errors == ["unknown fact a.x"]
    assert context.condition(Scalar("worse > 5 MiB", "f.yaml", 1, 1)) is None
    assert context.condition(Scalar("bad > 5ms for 3m", "f.yaml", 1, 1)) is None
    assert len(context.problems.errors) == 1


def test_types_of_names_are_known_where_they_are_used() -> None:
    context, _ = read("let:\n  ratio: a.b / a.c\n")
    leaf = context.condition(Scalar("ratio > 5", "f.yaml", 1, 1))
    assert leaf is not None
    assert isinstance(leaf.test, Comparison)
    assert isinstance(leaf.test.left, Named)
    assert context.condition(Scalar("ratio > 5ms", "f.yaml", 1, 1)) is None


def test_names_cannot_grow_without_end() -> None:
    doubling = "".join(f"  n{i}: {f'n{i - 1} + n{i - 1}' if i else 'a.b'}\n" for i in range(60))
    _, errors = read(f"let:\n{doubling}")
    assert len(errors) == 1
    assert errors[0].endswith("deep: too many")


def test_expressions_cannot_grow_without_end() -> None:
    context, errors = read("let:\n  big: " + " + ".join(["a.b"] * 50) + "\n")
    assert errors == []
    assert context.value(Scalar(" + ".join(["big"] * 10), "f.yaml", 1, 1)) is not None
    assert context.value(Scalar(" + ".join(["big"] * 50), "f.yaml", 1, 1)) is None
    assert [error.message for error in context.problems.errors] == [
        "with its names written out this has more than 2,000 parts"
    ]


def test_the_number_of_names_is_limited() -> None:
    _, errors = read("let:\n" + "".join(f"  n{i}: a.b\n" for i in range(MAX_LETS + 1)))
    assert errors == [f"more than {MAX_LETS} names in one rule"]


@pytest.mark.parametrize(
    ("name", "allowed"), [("a", True), ("a_1", True), ("a.b", False), ("a-b", False), ("in", False), ("1", False)]
)
def test_a_name_is_a_word(name: str, allowed: bool) -> None:
    assert is_local_name(name) is allowed


def test_current_is_the_value_in_effect() -> None:
    context = read("let: {half: a.b / 2}")[0].with_current("a.c")
    read_value = context.value(Scalar("max(current, half)", "f.yaml", 1, 1))
    assert read_value is not None
    assert context.lets["current"] == Reference("a.c")
    assert not isinstance(read_value[0], Number)
