"""Files into a rule base: all errors at once, in the order of the files, whatever order anything comes in."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.language import source
from engram_diagnose.engine.language.loader import Loaded, load
from engram_diagnose.engine.language.problem import MAX_PROBLEMS, Problems, RuleBaseError
from engram_diagnose.engine.language.rule import Given, Rule, Setting
from engram_diagnose.rulebase import builtin_files

BUILTIN = builtin_files()
HEAD = "schema: engram-diagnose/rules/v1\npack: site.test\n"
RULE = "rules:\n  - {id: site.a, rev: 1, kind: cause, title: A, when: wal.flush.p99 > 5ms, when_true: likely}\n"


def errors_of(*packs: dict[str, str], today: str = "2026-11-22") -> list[str]:
    """Every error as `file:line:column: message`."""
    try:
        load(BUILTIN, [{name: text.encode() for name, text in pack.items()} for pack in packs], today=today)
    except RuleBaseError as error:
        return [f"{problem.mark}: {problem.message}" for problem in error.problems]
    return []


def site(text: str, *, today: str = "2026-11-22") -> Loaded:
    return load(BUILTIN, [{"site.yaml": text.encode()}], today=today)


def test_the_errors_of_several_files_come_out_at_once_and_in_order() -> None:
    wrong_unit = HEAD + RULE.replace("5ms", "5 MiB")
    packs = {
        "b.yaml": HEAD + "rules: [}",
        "a.yaml": wrong_unit,
        "c.yaml": wrong_unit.replace("site.a", "site.c").replace("likely", "surely"),
    }
    assert errors_of(packs) == [
        "a.yaml:4:55: a time and an amount of data do not go together",
        "b.yaml:3:9: not YAML: did not find expected node content",
        "c.yaml:4:55: a time and an amount of data do not go together",
        "c.yaml:4:89: when_true is never 'surely'",
    ]


def test_an_error_says_how_many_more_there_are() -> None:
    with pytest.raises(RuleBaseError, match=r"^site.yaml:1:1: error: the file lacks 'pack' \(and 3 more\)$"):
        site("schema: engram-diagnose/rules/v1\nrulse: []\npak: x\n")


def test_reading_ends_after_so_many_errors() -> None:
    rules = "".join(f"  - {{id: site.r{n}, rev: 1, kind: cause, title: x, when: a.b > 1}}\n" for n in range(300))
    errors = errors_of({"a.yaml": f"{HEAD}rules:\n{rules}"})
    assert len(errors) == MAX_PROBLEMS + 1
    assert sum("the rest was not looked at" in error for error in errors) == 1


def test_names_of_facts_cross_files_and_packs() -> None:
    facts = HEAD + "facts:\n  site.load: {unit: share, prometheus: site_load}\n"
    rule = HEAD + RULE.replace("wal.flush.p99 > 5ms", "site.load > 50%")
    assert errors_of({"z-facts.yaml": facts, "a-rule.yaml": rule}) == []
    assert errors_of({"rule.yaml": rule}, {"facts.yaml": facts}) == []


def test_a_pack_s_fact_is_read_from_its_selector_in_every_dialect() -> None:
    loaded = site(HEAD + "facts:\n  site.load: {unit: share, prometheus: site_load}\n")
    assert {dialect.sources["site.load"].promql for dialect in loaded.catalogue.dialects.values()} == {"site_load"}


def test_a_site_states_its_target_once_for_all_sets() -> None:
    loaded = site(HEAD + "targets:\n  op.latency.p99{operation=recall}: 25 ms\n  ops.rate: 5000/s\n")
    found = {(t.name, str(t.scope)): (t.floor, t.target, t.baseline, t.better) for t in loaded.catalogue.targets}
    assert found["op.latency.p99", "{operation=recall}"] == (0.025, 0.025, 0.025, "lower")
    assert found["ops.rate", ""] == (5000.0, 5000.0, 5000.0, "higher")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d.yaml", "dialect: mine\nfacts: {wal.flush.p9: {promql: x}}", "3:9: unknown fact wal.flush.p9"),
        ("d.yaml", "dialect: mine\nfacts: {wal.flush.p99: x}", "3:24: wal.flush.p99 takes a mapping, not the text 'x'"),
        ("d.yaml", "dialect: mine\nfacts: {wal.flush.p99: {note: x}}",
         "3:24: wal.flush.p99 needs a source: promql, counter, json or http"),
        ("d.yaml", "dialect: mine\nfacts: {}\nconfig: {keys: {config.wal.bufer: {key: a}}}",
         "4:17: unknown parameter config.wal.bufer"),
        ("d.yaml", "dialect: guide\nfacts: {}", "2:10: dialect guide is defined already"),
    ],
)  # fmt: skip
def test_a_dialect_names_what_there_is(name: str, text: str, message: str) -> None:
    assert errors_of({name: f"schema: engram-diagnose/dialect/v1\n{text}\n"}) == [f"{name}:{message}"]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            "parameters",
            "parameters: {config.x.y: {unit: B, restart: restart, doc: x, effects: {op.latncy.p99: '-'}, title: x}}",
            "2:72: unknown fact op.latncy.p99",
        ),
        (
            "parameters",
            "parameters: {config.wal.buffer_size: {unit: B, restart: restart, doc: x, title: x}}",
            "2:14: config.wal.buffer_size is defined already",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {unit: B, restart: never, doc: x, title: x}}",
            "2:45: restart is never 'never'",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {unit: B, restart: host, doc: x}}",
            "2:26: parameter config.x.y lacks 'title'",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {title: x, unit: B, restart: host, doc: x, formula: fit.storage.hot_tier_siz}}",
            "2:78: unknown fact fit.storage.hot_tier_siz",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {title: x, unit: B, restart: host, doc: x, formula: mem.total}}",
            "2:78: mem.total is measured, not derived",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {title: x, unit: s, restart: host, doc: x, formula: fit.storage.hot_tier_size}}",
            "2:78: config.x.y is a time, and fit.storage.hot_tier_size is an amount of data",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {title: x, kind: bool, restart: host, doc: x, formula: fit.hnsw.m}}",
            "2:81: config.x.y is true or false, and fit.hnsw.m is a plain number",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {title: x, values: [batch], restart: host, doc: x, formula: fit.wal.sync_mode}}",
            "2:86: fit.wal.sync_mode may be immediate, which config.x.y never is",
        ),
        (
            "parameters",
            "parameters: {config.x.y: {title: x, unit: B, restart: host, doc: x, budget: maybe}}",
            "2:77: budget must be true or false, not 'maybe'",
        ),
        (
            "targets",
            "targets: [{name: op.latncy.p99, better: lower, doc: x, target: 5ms}]",
            "2:11: unknown fact op.latncy.p99",
        ),
        (
            "targets",
            "targets: [{name: op.latency.p99, better: lower, doc: x, target: 5}]",
            "2:65: op.latency.p99 is a time, not a plain number",
        ),
        (
            "targets",
            "targets: [{name: ops.rate, labels: {device: sda}, better: higher, doc: x, target: 5/s}]",
            "2:28: ops.rate has no label device",
        ),
        (
            "catalogue",
            "facts: {site.a: {unit: s, doc: x, range: [0, 5 MiB]}}",
            "2:46: the range of a time is not an amount of data",
        ),
        ("catalogue", "facts: {}\nfakts: {}", "3:1: the file has no key 'fakts'"),
        (
            "inference",
            "certainty: {possible: 30%, likely: 60%, near-certain: 90%}\n"
            "likelihood_ratio: {weak: 2, moderate: 5, strong: 20, decisive: 100}\ntie_margin: 1%\n"
            "order: {severity: {info: 25%, warning: 50%, critical: 100%}, slight: 25%, full: 2, stood: 25%}",
            "1:1: the scales are given already",
        ),
    ],
)
def test_the_catalogue_names_what_there_is(kind: str, text: str, message: str) -> None:
    assert errors_of({"c.yaml": f"schema: engram-diagnose/{kind}/v1\n{text}\n"}) == [f"c.yaml:{message}"]


def test_scales_must_have_every_word_within_reason() -> None:
    files = {name: data for name, data in BUILTIN.items() if "inference" not in name}
    text = "schema: engram-diagnose/inference/v1\ncertainty: {possible: 30%, likely: 160%}\n"
    text += "likelihood_ratio: {weak: 2, moderate: 5, strong: 20, decisive: 100}\ntie_margin: 1%\n"
    text += "order: {severity: {info: 25%, warning: 150%, critical: 100%}, slight: 0, full: 1, stood: 25%}\n"
    with pytest.raises(RuleBaseError) as raised:
        load({**files, "i.yaml": text.encode()})
    assert [problem.message for problem in raised.value.problems] == [
        "certainty lacks 'near-certain'",
        "likely lies between 0 and 1",
        "warning is above 0 and not above 1",
        "slight is above 0 and not above 1",
        "full is above 1 and not above 100",
    ]


def test_a_rule_base_without_scales_is_incomplete() -> None:
    with pytest.raises(RuleBaseError, match="no file with schema engram-diagnose/inference/v1"):
        load({name: data for name, data in BUILTIN.items() if "inference" not in name})


# The order of things


def plain_rule(rule: Rule) -> dict[str, Any]:
    """A rule as it means, without the order of what has none."""
    found = {name: getattr(rule, name) for name in Rule.__dataclass_fields__ if name not in ("mark", "places")}
    found["given"] = _sorted(rule.given)
    found["cases"] = [
        (
            case.expect,
            _sorted(case.change),
            case.drop,
            case.confidence,
            case.impact,
            case.missing,
            _sorted(case.derived),
            sorted(case.advice, key=str),
        )
        for case in rule.cases
    ]
    found["params"] = {
        name: (parameter.value, parameter.low, parameter.high, parameter.doc) for name, parameter in rule.params.items()
    }
    found["recommend"] = [
        (
            _settings(item.settings),
            item.investigate,
            item.commands,
            item.when,
            item.tradeoff,
            item.because,
            item.condition,
            item.verify,
        )
        for item in rule.recommend
    ]
    return found


def _sorted(given: tuple[Given, ...]) -> list[Given]:
    return sorted(given, key=lambda item: str(item.reference))


def _settings(found: tuple[Setting, ...]) -> list[Setting]:
    return sorted(found, key=lambda setting: setting.parameter)


def dumped(node: source.Node, shuffled: random.Random, indent: str = "") -> str:
    """A node as YAML again, the keys of every mapping in another order."""
    if isinstance(node, source.Scalar):
        return (
            "'" + node.text.replace("'", "''").replace("\n", " ") + "'" if node.quoted else node.text.replace("\n", " ")
        )
    if isinstance(node, source.Sequence):
        return (
            "".join(f"\n{indent}-   {dumped(item, shuffled, indent + '    ').lstrip()}" for item in node.items) or " []"
        )
    keys = list(node.values)
    shuffled.shuffle(keys)
    lines = []
    for key in keys:
        value = dumped(node.values[key], shuffled, indent + "    ")
        lines.append(f"\n{indent}'{key}': {value}")
    return "".join(lines) or " {}"


PATTERNS = {name: data for name, data in BUILTIN.items() if "/patterns/" in name or "/tables/" in name}
EXPECTED = load(BUILTIN)


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_and_of_files_changes_nothing_but_places(shuffled: random.Random) -> None:
    files = list(BUILTIN.items())
    shuffled.shuffle(files)
    name = shuffled.choice(sorted(PATTERNS))
    root = source.parse_document(BUILTIN[name].decode(), file=name, problems=Problems())
    assert root is not None
    loaded = load({**dict(files), name: dumped(root, shuffled).encode()})
    assert list(loaded.rules.rules) == list(EXPECTED.rules.rules)
    for rule_id, rule in loaded.rules.rules.items():
        assert plain_rule(rule) == plain_rule(EXPECTED.rules.rules[rule_id])
    assert loaded.catalogue == EXPECTED.catalogue


def test_the_order_of_files_changes_no_error() -> None:
    pack = {f"{name}.yaml": HEAD + RULE.replace("site.a", f"site.{name}").replace("5ms", "5") for name in "abcd"}
    assert errors_of(pack) == errors_of(dict(reversed(pack.items())))


def test_what_was_checked_before_is_decided_alike_without_its_tests() -> None:
    whole, quick = load(BUILTIN), load(BUILTIN, thorough=False)
    assert quick.rules.rules.keys() == whole.rules.rules.keys()
    for name, rule in quick.rules.rules.items():
        assert not rule.cases
        assert replace(rule, given=(), cases=()) == replace(whole.rules.rules[name], given=(), cases=())


def test_with_a_pack_laid_over_them_all_are_checked() -> None:
    pack = {"site.yaml": b"schema: engram-diagnose/rules/v1\npack: site\nrules: []\n"}
    assert all(rule.cases for rule in load(BUILTIN, [pack], thorough=False).rules.rules.values())
