"""What a pack was written for."""

import pytest

from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.requires import check_requires
from engram_diagnose.engine.language.source import parse_document


def said(text: str) -> list[str]:
    problems = Problems()
    root = parse_document(f"requires: {text}", file="f.yaml", problems=problems)
    assert root is not None
    check_requires(root, problems)
    return [error.message for error in problems.errors]


@pytest.mark.parametrize(
    "text",
    ['{engine: ">=1.0"}', '{engine: ">=1, <2", facts: "==1"}', '{engine: "== 1.0.0"}', '{facts: ">0.9,<=1.0"}', "{}"],
)
def test_a_pack_for_this_release_is_welcome(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{engine: ">=1.1"}', "this file needs engine >=1.1, and the rule language here is 1.0"),
        ('{facts: "<1"}', "this file needs facts <1, and the catalogue of facts here is 1"),
        ('{engine: ">=1.0, <1"}', "this file needs engine >=1.0, <1, and the rule language here is 1.0"),
        ('{engine: "1.0"}', "engine is required as bounds such as '>=1.0, <2', not '1.0'"),
        ('{engine: ">=1.0,"}', "engine is required as bounds such as '>=1.0, <2', not '>=1.0,'"),
        ("{engin: 1}", "requires has no key 'engin'"),
        ("[1]", "requires of the file must be a mapping, not a list"),
    ],
)
def test_another_is_told_so(text: str, message: str) -> None:
    assert said(text) == [message]
