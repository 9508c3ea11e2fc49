"""Laws of editing, over documents in every form that TOML has."""

import copy
import tomllib
from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from engram_diagnose.patch.edit import Assignment, ConfigurationError, edited

NAMES = ("wal", "numa", "hot", "sync_mode", "M", "a", "b")
WRITTEN = (*NAMES, *NAMES, '"wal"', "'a'", '"ключ"', '"x y"', '"a.b"', '"h\\u006ft"')
SCALARS = (
    "1",
    "-20",
    "0",
    "true",
    "false",
    "0.5",
    "-1e-05",
    "1e+22",
    '"batch"',
    "'imm ediate'",
    '""',
    '"q\\"#[x]"',
    "'#'",
)
OTHERS = (
    "1_000",
    "0x1F",
    "inf",
    "+3.10",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    '"\\u0041"',
    '"""\n[wal]\nsync_mode = "x"\n"""',
    '"""a\\"""" b""""',
    "'''\n[numa]\n  a = 1 # ''\n'''",
    "[]",
    "[1, 2]",
    "[ \"a\", 'b' ]",
    "[\n  1, # one ]\n\n  2,\n]",
    "[[1], ['[wal]']]",
    "{}",
    "{ hot = 3, warm = 2 }",
    "{hot=3,b={a=1,M='''\nx = 1\n'''}}",
    "{ a.b = 1, a.M = [1,\n 2] }",
    "[{a = 1}, {b = 2}]",
)
keys = st.lists(st.sampled_from(WRITTEN), min_size=1, max_size=3)
blanks = st.sampled_from(("", "", " ", "  ", "\t"))
comments = st.sampled_from(("", "", "  # why", "# [wal]", " # \"'''{["))
values = st.sampled_from((*SCALARS, *OTHERS))


@st.composite
def statements(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from((".", " . "))).join(draw(keys))
    return f"{draw(blanks)}{name}{draw(blanks)}={draw(blanks)}{draw(values)}{draw(comments)}"


@st.composite
def headers(draw: st.DrawFn) -> str:
    opening, closing = draw(st.sampled_from((("[", "]"), ("[", "]"), ("[", "]"), ("[[", "]]"))))
    return f"{draw(blanks)}{opening}{draw(blanks)}{'.'.join(draw(keys))}{draw(blanks)}{closing}{draw(comments)}"


ignored = st.sampled_from(("", "  ", "# sync_mode = 1", '# """', "\t#"))


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A TOML document: lines of every kind, those left out that would make it invalid."""
    lines: list[str] = []
    for line in draw(st.lists(st.one_of(statements(), statements(), headers(), ignored), max_size=14)):
        try:
            tomllib.loads("\n".join([*lines, line]))
        except tomllib.TOMLDecodeError:
            continue
        lines.append(line)
    ends = draw(st.sampled_from((("\n",), ("\r\n",), ("\n", "\r\n"))))
    text = "".join(line.replace("\n", ends[0]) + ends[i % len(ends)] for i, line in enumerate(lines))
    if draw(st.booleans()):
        text = text.removesuffix("\n").removesuffix("\r")
    return draw(st.sampled_from(("", "", "\ufeff"))) + text


def leaves(table: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def parse(text: str) -> dict[str, Any]:
    return tomllib.loads(text.removeprefix("\ufeff"), parse_float=float)


new_values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
)
fresh = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(".".join)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[str, list[Assignment]]:
    text = draw(documents())
    there = [".".join(path) for path, _ in leaves(parse(text)) if set(path) <= set(NAMES)]
    key = st.one_of(st.sampled_from(there), fresh) if there else fresh
    chosen = draw(st.lists(key, min_size=1, max_size=4, unique=True))
    return text, [Assignment(key, draw(new_values)) for key in chosen]


def assigned(document: dict[str, Any], assignments: list[Assignment]) -> dict[str, Any] | None:
    """What the document should come to; None where a key cannot be set."""
    result = copy.deepcopy(document)
    for assignment in assignments:
        *tables, key = assignment.key.split(".")
        node = result
        for table in tables:
            node = node.setdefault(table, {})
            if not isinstance(node, dict):
                return None
        old = node.get(key)
        if isinstance(old, dict) or (isinstance(old, list) and any(isinstance(element, dict) for element in old)):
            return None
        node[key] = list(assignment.value) if isinstance(assignment.value, tuple) else assignment.value
    return result


def nested(assignments: list[Assignment]) -> bool:
    names = [assignment.key for assignment in assignments]
    return any(one.startswith(f"{other}.") for one in names for other in names)


@hypothesis.settings(max_examples=400)
@hypothesis.given(tasks())
def test_only_the_assigned_keys_change(task: tuple[str, list[Assignment]]) -> None:
    text, assignments = task
    hypothesis.assume(not nested(assignments))
    before = parse(text)
    expected = assigned(before, assignments)
    if expected is None:
        with pytest.raises(ConfigurationError):
            edited(text.encode(), assignments, name="engram.toml")
        return
    after = edited(text.encode(), assignments, name="engram.toml")
    assert parse(after.decode()) == expected
    assert edited(after, assignments, name="engram.toml") == after
    assert after.startswith("\ufeff".encode()) == text.startswith("\ufeff")
    if text.strip("\ufeff"):
        assert after.endswith(b"\n") == text.endswith("\n")


@hypothesis.settings(max_examples=400)
@hypothesis.given(tasks())
def test_bytes_outside_the_touched_lines_stay(task: tuple[str, list[Assignment]]) -> None:
    text, (assignment, *_) = task
    before = parse(text)
    hypothesis.assume(assigned(before, [assignment]) is not None)
    old, new = text.encode(), edited(text.encode(), [assignment], name="engram.toml")
    hypothesis.assume(old != new)
    start = equal_bytes(old, new)
    end = len(old) - equal_bytes(old[start:][::-1], new[start:][::-1])
    path = tuple(assignment.key.split("."))
    if path in dict(leaves(before)):
        first, last = old.rfind(b"\n", 0, start) + 1, (old.find(b"\n", max(start, end - 1)) + 1) or len(old)
        assert old[first:last].count(b"\n") <= 5
        if all(sign not in old[first:last] for sign in (b"{", b"'''", b'"""', b"[")) and old.count(b"\n  1,") == 0:
            rest = parse((old[:first] + old[last:]).decode())
            assert without(rest, path) == without(before, path)
            assert path not in dict(leaves(rest))
    elif "{" not in text:
        assert start == end
    else:
        assert old[start:end].count(b"\n") == 0


def equal_bytes(one: bytes, other: bytes) -> int:
    shorter = min(len(one), len(other))
    return next((i for i in range(shorter) if one[i] != other[i]), shorter)


def without(document: dict[str, Any], path: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    return {key: repr(value) for key, value in leaves(document) if key != path}


@hypothesis.settings(max_examples=300)
@hypothesis.given(tasks(), st.data())
def test_editing_back_restores_the_bytes(task: tuple[str, list[Assignment]], data: st.DataObject) -> None:
    text, _ = task
    known = [tomllib.loads(f"v = {scalar}")["v"] for scalar in SCALARS]
    scalars = [
        (".".join(path), value)
        for path, value in leaves(parse(text))
        if set(path) <= set(NAMES) and any(type(value) is type(one) and value == one for one in known)
    ]
    hypothesis.assume(scalars and not any(form in text for form in ("1_000", "0x1F", "+3.10", "\\u0041")))
    key, value = data.draw(st.sampled_from(scalars))
    new = data.draw(st.sampled_from(["other", "more words"]) if isinstance(value, str) else st.just(value))
    if not isinstance(value, str):
        new = data.draw(st.booleans() if isinstance(value, bool) else st.integers(-9, 9).map(type(value)))
    there = edited(text.encode(), [Assignment(key, new)], name="engram.toml")
    assert edited(there, [Assignment(key, value)], name="engram.toml") == text.encode()
