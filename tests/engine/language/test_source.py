"""YAML into nodes: every scalar stays text, every node knows its place, and nothing dangerous is built."""

from pathlib import Path

import pytest

from engram_diagnose.engine.language import source
from engram_diagnose.engine.language.problem import MAX_PROBLEMS, Mark, Problem, Problems, excerpt
from engram_diagnose.engine.language.source import Mapping, Scalar, Sequence, decode, parse_document, plain


def parse(text: str) -> tuple[Mapping | None, list[Problem]]:
    problems = Problems()
    return parse_document(text, file="f.yaml", problems=problems), problems.errors


def read(text: str) -> Mapping:
    root, errors = parse(text)
    assert not errors
    assert root is not None
    return root


@pytest.mark.parametrize(
    "text", ["1e-5", "1:30", "on", "yes", "null", "~", "0x10", "010", "2027-03-31", "1_000", "=", ".inf"]
)
def test_a_scalar_is_the_text_it_is_written_as(text: str) -> None:
    node = read(f"key: {text}").values["key"]
    assert isinstance(node, Scalar)
    assert (node.text, node.quoted) == (text, False)


@pytest.mark.parametrize("text", ['"5"', "'5'", "|\n  5", ">\n  5"])
def test_quotes_and_blocks_say_that_a_text_is_meant(text: str) -> None:
    node = read(f"key: {text}").values["key"]
    assert isinstance(node, Scalar)
    assert node.quoted
    assert node.text.strip() == "5"


def test_nodes_know_where_they_stand() -> None:
    root = read("a: 1\nlist:\n  - {b: 'x y'}\n  - plain\n")
    items = root.values["list"]
    assert isinstance(items, Sequence)
    inner = items.items[0]
    assert isinstance(inner, Mapping)
    assert root.key_mark("list") == Mark("f.yaml", 2, 1)
    assert inner.mark == Mark("f.yaml", 3, 5)
    assert inner.key_mark("b") == Mark("f.yaml", 3, 6)
    assert inner.values["b"].mark == Mark("f.yaml", 3, 10)  # behind the quote
    assert inner.key_mark("nowhere") == inner.mark


def test_columns_inside_a_text_with_escapes_are_not_counted() -> None:
    plain_text, escaped = read(r'a: "x y"').values["a"], read(r'a: "x\ty"').values["a"]
    assert isinstance(plain_text, Scalar)
    assert isinstance(escaped, Scalar)
    assert plain_text.single_line
    assert not escaped.single_line


def test_a_document_is_plain_data_for_a_validator() -> None:
    assert plain(read("a: {b: [1, true]}")) == {"a": {"b": ["1", "true"]}}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: 1\na: 2", 2, 1, "duplicate key 'a'"),
        ("a: &x 1", 1, 4, "the anchor &x is not allowed"),
        ("a: *x", 1, 4, "the alias *x is not allowed"),
        ("a: !!int 1", 1, 4, "the tag !!int is not allowed"),
        ("a: !custom {b: 1}", 1, 4, "the tag !custom is not allowed"),
        ("a: 1\n---\nb: 1", 2, 1, "a second document"),
        ("{a: 1, [b]: 2}", 1, 8, "a key must be a word, not a list"),
        ("- a", 1, 1, "the file must hold a mapping with `schema:`, not a list"),
        ("", 1, 1, "the file must hold a mapping with `schema:`, not nothing"),
        ("a: b: c", 1, 5, "not YAML: mapping values are not allowed in this context"),
        ("a: [1", 2, 1, "not YAML: did not find expected ',' or ']'"),
        ("a: 'x", 1, 6, "not YAML: found unexpected end of stream"),
        ("a: x\x00y", 1, 5, r"the control character '\x00' is not allowed"),
        ("a: \ud800", 1, 4, r"the control character '\ud800' is not allowed"),
    ],
)
def test_what_is_not_allowed_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    _, errors = parse(text)
    assert [error.message for error in errors] == [message]
    assert errors[0].mark == Mark("f.yaml", line, column)


def test_reading_goes_on_behind_a_duplicate_key() -> None:
    root, errors = parse("a: 1\na: 2\na: 3\nb: 4")
    assert [error.mark.line for error in errors] == [2, 3]
    assert root is not None
    assert plain(root) == {"a": "1", "b": "4"}


def test_reading_ends_when_there_are_too_many_problems() -> None:
    root, errors = parse("a: 1\n" * 10_000)
    assert root is None
    assert len(errors) == MAX_PROBLEMS + 1


@pytest.mark.parametrize(("depth", "allowed"), [(source.MAX_DEPTH - 1, True), (source.MAX_DEPTH, False)])
def test_depth_is_limited(depth: int, allowed: bool) -> None:
    root, errors = parse("a: " + "[" * depth + "]" * depth)
    assert (root is not None) is allowed
    assert [error.message for error in errors] == ([] if allowed else [f"nested deeper than {source.MAX_DEPTH} levels"])


def test_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_BYTES", 10)
    problems = Problems()
    assert decode(b"a: 1", file="f.yaml", problems=problems) == "a: 1"
    assert decode(b"a: 1 # long", file="f.yaml", problems=problems) is None
    assert [error.message for error in problems.errors] == ["11 bytes is more than a rule file may have (10)"]


def test_the_number_of_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_NODES", 10)
    assert parse("a: [" + "1," * 20 + "1]")[1][0].message == "more than 10 values"


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"a: 1\nb: \xff", "byte 0xff is not UTF-8", "save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "byte 0xff is not UTF-8", "it looks like UTF-16; save the file as UTF-8"),
    ],
)
def test_only_utf_8_is_read(data: bytes, message: str, hint: str) -> None:
    problems = Problems()
    assert decode(data, file="f.yaml", problems=problems) is None
    assert [(error.message, error.hint) for error in problems.errors] == [(message, hint)]


def test_a_byte_order_mark_does_no_harm() -> None:
    problems = Problems()
    text = decode(b"\xef\xbb\xbfa: 1", file="f.yaml", problems=problems)
    assert text == "a: 1"


def test_without_libyaml_the_same_nodes_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    text = (Path(__file__).parent / "fixtures" / "site-example.good.yaml").read_text(encoding="utf-8")
    fast = read(text)
    monkeypatch.setattr(source, "_Parser", yaml.SafeLoader)
    assert read(text) == fast


def test_an_excerpt_never_moves_the_cursor() -> None:
    problem = Problem(Mark("f.yaml", 1, 4), "bad", length=3)
    text = "a: \x1b[31mred\x07"
    shown = excerpt(problem, {"f.yaml": text})
    assert shown.replace("\n", "").isprintable()


def test_carets_stand_below_what_they_mean_also_behind_wide_characters() -> None:
    problem = Problem(Mark("f.yaml", 1, 7), "bad", length=3)
    lines = excerpt(problem, {"f.yaml": "a: 記憶 bad"}).splitlines()
    assert lines[1] == "    1 | a: 記憶 bad"
    assert lines[2] == "      |         ^^^"


def test_a_long_line_is_cut_round_the_place() -> None:
    problem = Problem(Mark("f.yaml", 1, 1001), "bad", length=3)
    lines = excerpt(problem, {"f.yaml": "x" * 1000 + "bad" + "y" * 1000}).splitlines()
    assert len(lines[1]) < 200
    assert lines[1][lines[2].index("^") :].startswith("bad")
