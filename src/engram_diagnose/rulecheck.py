"""
Checking rule files: everything that is wrong with them, at its place.
"""

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from engram_diagnose.collectors.prometheus.promql import WINDOW, PromqlError, parse, unsupported
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.loader import SCHEMAS, Loaded, load, texts_of
from engram_diagnose.engine.language.problem import Problem, Problems, RuleBaseError
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.schema import schema_problems, unnoticed
from engram_diagnose.engine.language.source import Mapping as Node
from engram_diagnose.engine.language.source import Scalar, parse_document
from engram_diagnose.engine.rule_tests import missing_metadata
from engram_diagnose.eventtables import event_problems
from engram_diagnose.reference.index import SHIPPED
from engram_diagnose.rulebase import Files, builtin_files, pack_files


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong, errors and warnings in the order of the files; `loaded` is None where errors forbid it."""

    problems: tuple[Problem, ...]
    texts: Mapping[str, str]
    loaded: Loaded | None

    @property
    def errors(self) -> int:
        """How many of the problems make the rules unusable."""
        return sum(problem.severity == "error" for problem in self.problems)


def check_rules(packs: Iterable[Path], *, strict: bool = False) -> Checked:
    """
    The built-in rules with packs laid over them, checked.

    A pack that cannot be read is a problem like any other. With `strict`, what a shipped rule lacks is a warning.
    """
    problems: list[Problem] = []
    read = list(_read(packs, problems))
    builtin = builtin_files()
    loaded = _loaded(builtin, read, problems)
    texts = texts_of(builtin, *read)
    documents = parsed(texts)
    problems += [problem for root in documents for problem in promql_problems(root)]
    problems += event_problems(texts)
    problems += unnoticed([doubt for root in documents for doubt in second_opinion(root)], problems)
    if loaded is not None:
        problems += deferred_problems(loaded)
        problems += loaded.warnings
        problems += unfinished(loaded) if strict else ()
    usable = loaded if not any(problem.severity == "error" for problem in problems) else None
    return Checked(tuple(sorted(set(problems))), texts, usable)


def _read(packs: Iterable[Path], problems: list[Problem]) -> Iterator[Files]:
    for path in packs:
        try:
            yield pack_files(path)
        except RuleBaseError as error:
            problems += error.problems


def _loaded(builtin: Files, packs: list[Files], problems: list[Problem]) -> Loaded | None:
    try:
        return load(builtin, packs, today=datetime.date.today().isoformat())
    except RuleBaseError as error:
        problems += error.problems
        return None


def deferred_problems(loaded: Loaded) -> list[Problem]:
    """What is wrong with the files that loading leaves unread."""
    found: list[Problem] = []
    for read in (
        lambda: read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules),
        lambda: read_limits(loaded.texts, "collection"),
        lambda: read_limits(loaded.texts, "kernels"),
        lambda: read_limits(loaded.texts, "bench"),
        lambda: read_limits(loaded.texts, "cases"),
        lambda: read_limits(loaded.texts, "slow-queries"),
    ):
        try:
            read()
        except RuleBaseError as error:
            found += error.problems
    return found


def unfinished(loaded: Loaded) -> list[Problem]:
    """What the shipped rules lack of what every one of them must have; those that a site overrides are left out."""
    shipped = {
        name: rule
        for name, rule in loaded.rules.rules.items()
        if rule.pack == SHIPPED and name not in loaded.rules.overridden
    }
    return [_lacking(rule, what) for rule, what in missing_metadata(shipped)]


def _lacking(rule: Rule, what: str) -> Problem:
    hint = "see CONTRIBUTING.md, Add a rule"
    return Problem(rule.mark, f"{rule.id} lacks {what}", hint, len(rule.id), "warning", rule.id)


def parsed(texts: Mapping[str, str]) -> list[Node]:
    """The documents that are YAML at all; what is wrong with the others is said by loading."""
    roots = (parse_document(text, file=name, problems=Problems()) for name, text in texts.items())
    return [root for root in roots if root is not None]


# --- The published schema -------------------------------------------------------------------------


def second_opinion(root: Node) -> list[Problem]:
    """
    What the published JSON Schema of its kind has against a document, as warnings; nothing where there is no such kind.

    Loading decides what is usable. Where an editor says otherwise, one of the two is wrong.
    """
    named = root.values.get("schema")
    kind = SCHEMAS.get(named.text) if isinstance(named, Scalar) else None
    found = schema_problems(root, published_schema(kind)) if kind is not None else []
    return [replace(problem, severity="warning") for problem in found]


@cache
def published_schema(kind: str) -> dict[str, Any]:
    """The schema that editors use for a kind of file: `rules`, `catalogue` and so on."""
    text = resources.files("engram_diagnose").joinpath("rules", "schema", f"{kind}-v1.json").read_bytes()
    schema: dict[str, Any] = json.loads(text)
    return schema


# --- PromQL ---------------------------------------------------------------------------------------


def promql_problems(root: Node) -> list[Problem]:
    """The PromQL of one document, a dialect or a pack with facts of its own, that cannot be evaluated here."""
    facts = root.values.get("facts")
    nodes = facts.values.items() if isinstance(facts, Node) else ()
    entries = [(fact, node) for fact, node in nodes if isinstance(node, Node)]
    found = [_refused(fact, *written) for fact, node in entries for written in _written(node)]
    return [problem for problem in found if problem is not None]


def _written(entry: Node) -> Iterator[tuple[Scalar, bool]]:
    """The expressions of a fact, each with whether it names a counter."""
    label = entry.values.get("prometheus_label")
    nodes = [(entry.values.get(key), key == "counter") for key in ("prometheus", "promql", "counter")]
    nodes += [(label.values.get("series"), False)] if isinstance(label, Node) else []
    for node, counter in nodes:
        if isinstance(node, Scalar) and node.text not in ("true", "false"):
            yield node, counter


def _refused(fact: str, node: Scalar, counter: bool) -> Problem | None:
    refusal = unsupported(node.text, counter=counter)
    if refusal is None:
        return None
    hint = "a recording rule in Prometheus can compute it under a name of its own"
    mark = node.mark.after(_position(node.text)) if node.single_line else node.mark
    return Problem(mark, f"{fact} cannot be evaluated: {refusal}", hint)


def _position(text: str) -> int:
    """Where in an expression reading stops; the placeholder of the window keeps its length."""
    try:
        parse(text.replace(WINDOW, "5m".ljust(len(WINDOW))))
    except PromqlError as error:
        return error.position
    return 0
