"""Label patterns."""

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.pattern import PatternError, pattern_of, quoted


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("", [""], ["a"]),
        ("a|b", ["a", "b"], ["", "ab"]),
        ("recall|store|", ["recall", "store", ""], ["recall2"]),
        (".*", ["", "a\nb", "é😀"], []),
        (".+", ["a"], [""]),
        ("a.c", ["abc", "a\nc"], ["ac"]),
        ("(a|b)+c?", ["a", "abab", "bc"], ["", "c", "acc"]),
        ("(?:ab){2,3}", ["abab", "ababab"], ["ab", "abababab"]),
        ("a{2}b{1,}", ["aab", "aabbb"], ["ab", "aa"]),
        ("a{0}b", ["b"], ["ab"]),
        ("[a-c_]+", ["abc_"], ["d", ""]),
        ("[^a-c]", ["d", "\n"], ["a", ""]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        (r"[\d.]+", ["1.5"], ["x"]),
        (r"\d+\.\w*\s\S", ["12.ab \u00e9"], ["12xab "]),
        (r"a\.b\|c", ["a.b|c"], ["axb|c"]),
        (r"\\", ["\\"], ["\\\\"]),
        ("^a$|^b", ["a", "b"], ["ab"]),
        ("a+?", ["a", "aa"], [""]),
        ("5..", ["500", "503"], ["404", "5000"]),
    ],
)
def test_a_pattern_matches_whole_values(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [value for value in yes if not pattern_of(pattern).matches(value)] == []
    assert [value for value in no if pattern_of(pattern).matches(value)] == []


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[", "[a", "[b-a]", "*", "a**", "a{3,2}", "a{1000}", "a{", "a{x}",
     "(?=a)", "(?i)a", "[[:alpha:]]", r"\b", r"\1", "\\", "a^b", "a$b", "(a{100}){100}",
     "(" * 100, "x" * 3000],
)  # fmt: skip
def test_what_is_wrong_or_not_supported_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        pattern_of(pattern)


def test_hostile_patterns_and_values_take_no_time() -> None:
    start = time.monotonic()
    assert not pattern_of("(a|a)*(a*)*b").matches("a" * 2000)
    nested = "(" * 29 + "a" + "?)" * 29
    assert pattern_of(nested).matches("a")
    assert time.monotonic() - start < 5


@given(st.text(), st.text())
def test_a_quoted_text_matches_itself_alone(text: str, other: str) -> None:
    pattern = pattern_of(quoted(text))
    assert pattern.matches(text)
    assert pattern.matches(other) == (text == other)


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "(a|b)", "(ab)", "(?:a|)"])
PIECES = st.tuples(ATOMS, st.sampled_from(["", "*", "+", "?", "{2}", "{0,2}", "{1,}"])).map("".join)
PATTERNS = st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=1, max_size=3).map("|".join)


@given(PATTERNS, st.text("abc", max_size=6))
def test_it_agrees_with_pythons_own_on_what_both_know(pattern: str, value: str) -> None:
    expected = re.fullmatch(f"(?s:{pattern})", value) is not None
    assert pattern_of(pattern).matches(value) == expected


@given(st.text(), st.text(max_size=50))
def test_no_pattern_raises_anything_but_our_error(pattern: str, value: str) -> None:
    with contextlib.suppress(PatternError):
        pattern_of(pattern).matches(value)
