"""Whatever stands in a rule file, nothing but our own error comes out, and soon."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.language import source
from engram_diagnose.engine.language.loader import load, texts_of
from engram_diagnose.engine.language.problem import Problems, RuleBaseError, excerpt
from engram_diagnose.engine.language.rule import KINDS
from engram_diagnose.engine.language.scaffold import scaffold
from engram_diagnose.rulebase import builtin_files

SECONDS = 2.0
"""Of this process, so that what else the machine does has little say in it."""
FIXTURES = Path(__file__).parent / "fixtures"
# Without the rules, which do not matter here and take a tenth of a second.
CATALOGUE = {name: data for name, data in builtin_files().items() if "/catalogue/" in name}
HEAD = "schema: engram-diagnose/rules/v1\npack: site.test\n"
SEEDS = [path.read_text(encoding="utf-8") for path in sorted(FIXTURES.glob("*.yaml"))]
SEEDS += [scaffold("site.new", kind) for kind in KINDS]


def attempt(data: bytes) -> list[str]:
    """Load bytes as a pack; the problems as they are printed."""
    files = {"hostile.yaml": data}
    try:
        load(CATALOGUE, [files], today="2026-11-22")
    except RuleBaseError as error:
        texts = texts_of(files)
        return [excerpt(problem, texts) for problem in error.problems]
    return []


# Anything


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    problems = Problems()
    text = source.decode(data, file="f.yaml", problems=problems)
    root = None if text is None else source.parse_document(text, file="f.yaml", problems=problems)
    assert root is not None or problems.errors


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    problems = Problems()
    root = source.parse_document(text, file="f.yaml", problems=problems)
    assert root is not None or problems.errors
    assert all(len(problem.message) < 500 and problem.message.isprintable() for problem in problems.errors)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: (HEAD + text).encode("utf-8", "replace")))
)
def test_any_bytes_are_a_pack_or_refused(data: bytes) -> None:
    attempt(data)


WORDS = st.sampled_from(
    """
    schema pack version requires facts targets overrides suppressions rules id rev kind title status severity owner
    tags scope reason refs params let applies when when_true evidence impact explains masks recommend given tests
    outputs rows output value all any not at_least n of if because seen absent group graded steps above below on relief
    set investigate commands verify after expect change drop confidence missing derived advice else why rule expect_rev
    expires append when.all disable min max doc unit range values origin prometheus prometheus_label series label
    engine a.b wal.flush.p99 op.latency.p99{operation=store} config.wal.buffer_size wal.bytes_written@rate_5m
    """.split()  # noqa: SIM905 -- a list of them is three pages long
)
SCALARS = ("cause", "symptom", "table", "derive", "5ms", "1", "true", "null", "", "site.x", "wal.flush.p99 > 5ms",
           "$p", "a + ", "fires", "strong", "likely", "batch", "[", "share", "instance", "operation", "2027-01-01",
           "wal.flush.p99", "current", ">= 80%", "symptom.store-slow", "1e999999999 s", "9" * 400, "{a.b}", "-",
           "5 .. 1", "x@avg_" + "9" * 400 + "m", "٣", "1__0", "²")  # fmt: skip
VALUES = st.one_of(st.sampled_from(SCALARS), st.text(max_size=12))
TREES = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, VALUES), inner, max_size=6)),
    max_leaves=25,
)


def as_yaml(tree: object) -> str:
    """A tree as one line of YAML, every text in quotes but for those that need none."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{as_yaml(key)}: {as_yaml(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(as_yaml, tree)) + "]"
    text = str(tree)
    bare = text.replace("_", "").replace(".", "").isalnum() and text.isascii()
    return text if bare else "'" + text.replace("'", "''").replace("\n", " ") + "'"


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(WORDS, TREES, max_size=12), st.sampled_from(KINDS))
def test_a_rule_of_any_shape_is_read_or_refused(rule: dict[str, object], kind: str) -> None:
    tree = {"schema": "engram-diagnose/rules/v1", "pack": "p", "rules": [{"id": "site.x", **rule, "kind": kind}]}
    attempt(as_yaml(tree).encode("utf-8", "replace"))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(WORDS, TREES, max_size=8),
    st.sampled_from(["rules", "catalogue", "parameters", "targets", "dialect", "inference"]),
)
def test_a_file_of_any_shape_is_read_or_refused(tree: dict[str, object], kind: str) -> None:
    attempt(as_yaml({**tree, "schema": f"engram-diagnose/{kind}/v1"}).encode("utf-8", "replace"))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_file_with_a_slip_is_read_or_refused(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 6)))
        text = text[:start] + data.draw(st.one_of(st.text(max_size=3), WORDS, VALUES)) + text[end:]
    attempt(text.encode("utf-8", "replace"))


def grafted(tree: object, data: st.DataObject) -> object:
    """The tree with one part of it, somewhere, replaced."""
    if isinstance(tree, dict) and tree and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(tree)))
        return {**tree, key: grafted(tree[key], data)}
    if isinstance(tree, list) and tree and data.draw(st.integers(0, 5)):
        index = data.draw(st.integers(0, len(tree) - 1))
        return [*tree[:index], grafted(tree[index], data), *tree[index + 1 :]]
    return data.draw(TREES)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_file_with_a_wrong_part_is_read_or_refused(data: st.DataObject) -> None:
    root = source.parse_document(data.draw(st.sampled_from(SEEDS)), file="f.yaml", problems=Problems())
    if root is not None:
        attempt(as_yaml(grafted(source.plain(root), data)).encode("utf-8", "replace"))


# By hand


def rules(*lines: str) -> str:
    return HEAD + "rules:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


def cause(name: str, rest: str) -> str:
    return f"id: site.{name}, rev: 1, kind: cause, title: x, when_true: likely, {rest}"


def laughs() -> str:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'lol'}]" for n in range(12)]
    return HEAD + "\n".join(levels)


def doubling_lets() -> str:
    lets = ", ".join(f"n{n}: {f'n{n - 1} + n{n - 1}' if n else 'cpu.busy'}" for n in range(60))
    return rules(cause("x", f"let: {{{lets}}}, when: n59 > 1"))


def circle(count: int) -> str:
    facts = "facts:\n" + "".join(f"  s.f{n}: {{unit: share, origin: rules, doc: x}}\n" for n in range(count))
    chain = [
        f"id: site.r{n}, rev: 1, kind: derive, title: x, output: s.f{n}, value: s.f{(n + 1) % count}"
        for n in range(count)
    ]
    return rules(*chain) + facts


def mask_chain(count: int) -> str:
    return rules(*(cause(f"r{n}", f"masks: [site.r{n + 1}], when: cpu.busy > 1%") for n in range(count)))


def near_misses(count: int) -> str:
    return rules(*(cause(f"r{n}", f"when: wal.flush.p9{n} > 5ms") for n in range(count)))


def long_conditions(count: int) -> str:
    test = "cpu.busy" + " + cpu.busy" * 120 + " > 1"
    return rules(*(cause(f"r{n}", f"when: {test}") for n in range(count)))


MEGA = 1_000_000
HOSTILE: dict[str, str | bytes] = {
    "billion laughs": laughs(),
    "a hundred thousand lists": "[" * 100_000,
    "a hundred thousand mappings": "{" * 100_000,
    "a hundred thousand mappings in keys": HEAD + "rules: " + "{a: " * 100_000,
    "a hundred thousand dashes": "- " * 100_000,
    "a hundred thousand questions": "? " * 100_000,
    "a hundred thousand lines that go deeper": "".join(" " * (n % 900) + "a:\n" for n in range(100_000)),
    "a python object": HEAD + "rules: !!python/object/apply:os.system ['exit 1']",
    "a python name": HEAD + "rules: !!python/name:os.system",
    "a binary": HEAD + "rules: !!binary aGk=",
    "a merge": HEAD + "rules: {<<: {a: 1}}",
    "a directive": "%YAML 9.9\n%TAG ! tag:evil,2000:\n---\n" + HEAD + "rules: []",
    "a huge key": HEAD + "k" * MEGA + ": 1",
    "a huge quoted key": HEAD + '"' + "k" * MEGA + '": 1',
    "a huge text": HEAD + "rules: " + "x" * MEGA,
    "a huge condition": rules(cause("x", "when: " + "x" * MEGA)),
    "a condition of spaces": rules(cause("x", "when: '" + " " * MEGA + "'")),
    "a condition of quotes": rules(cause("x", "when: '" + '"' * MEGA + "'")),
    "a condition of backslashes": rules(cause("x", "when: '\"" + "\\" * MEGA + "'")),
    "a condition of dots": rules(cause("x", "when: '" + "a." * (MEGA // 2) + "'")),
    "a condition of dashes": rules(cause("x", "when: '" + "a-" * (MEGA // 2) + "'")),
    "a condition of digits": rules(cause("x", "when: '" + "9" * MEGA + "'")),
    "a figure of digits": rules(cause("x", "params: {p: {value: " + "9" * MEGA + "}}")),
    "a figure of underscores": rules(cause("x", "params: {p: {value: 1" + "_" * MEGA + "}}")),
    "a figure beyond all figures": rules(
        cause("x", "params: {p: {value: 1e999999999ms}}, when: cpu.busy > 1e999999999")
    ),
    "a window of digits": rules(cause("x", "when: cpu.busy@avg_" + "9" * 10_000 + "m > 1%")),
    "a rev of digits": rules(cause("x", "rev: " + "9" * MEGA)),
    "a NUL": HEAD + "rules: \0",
    "control characters": HEAD + "rules: [\x1b[31m, \x07]",
    "escapes of control characters": HEAD + r'rules: [{id: "\e[31mred\a", kind: "\e"}]',
    "a byte order mark": b"\xef\xbb\xbf" + HEAD.encode() + b"rules: []",
    "three byte order marks": b"\xef\xbb\xbf" * 3 + HEAD.encode(),
    "UTF-16": (HEAD + "rules: []").encode("utf-16"),
    "UTF-32": (HEAD + "rules: []").encode("utf-32"),
    "Latin-1": (HEAD + "owner: Käse").encode("latin-1"),
    "surrogates": HEAD.encode() + b"rules: \xed\xa0\x80",
    "overlong": HEAD.encode() + b"rules: \xc0\xaf",
    "tabs": HEAD + "rules:\n\t- x",
    "carriage returns": HEAD.replace("\n", "\r") + "rules: [}",
    "unusual line ends": HEAD + "tags: a\u2028b\u2029c\x85d\nrules: [}",
    "ten megabytes": HEAD + "rules: [" + "a, " * (10 * MEGA // 3),
    "four megabytes of values": HEAD + "rules: [" + "a," * 2_000_000 + "]",
    "many values in a list of texts": rules(cause("x", "tags: [" + "a," * 400_000 + "]")),
    "many unknown keys": HEAD + "".join(f"k{n}: 1\n" for n in range(200_000)),
    "many duplicate keys": HEAD + "rules: []\n" * 200_000,
    "many rules that are none": HEAD + "rules: [" + "a," * 400_000 + "]",
    "many near misses": near_misses(2_000),
    "many long conditions": long_conditions(250),
    "lets that double": doubling_lets(),
    "lets in a circle": rules(cause("x", "let: {a: b, b: a}, when: a > 1")),
    "a thousand lets": rules(cause("x", "let: {" + ", ".join(f"n{n}: cpu.busy" for n in range(1_000)) + "}")),
    "rules in a long circle": circle(2_000),
    "rules that mask in a long chain": mask_chain(5_000),
    "deep conditions": rules(cause("x", "when: " + "{not: " * 25 + "cpu.busy > 1%" + "}" * 25)),
    "wide conditions": rules(
        cause("x", "when: {any: [" + ", ".join(f"cpu.busy > {n / 1000}%" for n in range(12_000)) + "]}")
    ),
    "only comments": "#\n" * MEGA,
    "only document starts": "---\n" * 100_000,
    "nothing": b"",
    "a folder of a zip": b"PK\x03\x04" + bytes(range(256)) * 10,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_dealt_with_in_no_time(name: str) -> None:
    made = HOSTILE[name]
    data = made if isinstance(made, bytes) else made.encode()
    started = time.process_time()
    said = attempt(data)
    assert time.process_time() - started < SECONDS
    assert all("\x1b" not in line and len(line) < 2_000 for line in said)


QUIET = {
    "a byte order mark",
    "deep conditions",
    "rules that mask in a long chain",
    "wide conditions",
    "many long conditions",
}


@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - QUIET))
def test_a_hostile_file_is_refused(name: str) -> None:
    made = HOSTILE[name]
    assert attempt(made if isinstance(made, bytes) else made.encode())


def test_nothing_of_a_hostile_file_is_carried_out(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    attempt(f"{HEAD}rules: !!python/object/apply:os.system ['touch {witness}']".encode())
    assert not witness.exists()


def many_files() -> Iterator[tuple[str, bytes]]:
    for number in range(300):
        yield f"f{number}.yaml", near_misses(20).replace("site.r", f"site.f{number}r").encode()


def test_many_files_with_many_mistakes_are_dealt_with_in_no_time() -> None:
    started = time.process_time()
    with pytest.raises(RuleBaseError):
        load(CATALOGUE, [dict(many_files())])
    assert time.process_time() - started < SECONDS * 2
