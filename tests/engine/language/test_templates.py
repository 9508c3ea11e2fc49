"""Sentences with fields."""

import pytest

from engram_diagnose.engine.language.templates import facts_in_command, fields_of


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("nothing", ()),
        ("{a} and {b.c@avg_5m}", ("a", "b.c@avg_5m")),
        ("{a:.1%} {a} { a }", ("a",)),
        ("{$limit} and {limit:.0f}", ("limit",)),
        ("{} {:.1f} {", ()),
    ],
)
def test_the_fields_of_a_sentence_are_named_once(text: str, fields: tuple[str, ...]) -> None:
    assert fields_of(text) == fields


@pytest.mark.parametrize(
    ("command", "facts"),
    [
        ("perf record -p {process.pid} -- sleep 10", ("process.pid",)),
        ("awk '{print $1}' f; echo {a,b} ${HOME} {1..3}", ()),
    ],
)
def test_braces_of_the_shell_are_its_own(command: str, facts: tuple[str, ...]) -> None:
    assert facts_in_command(command) == facts
