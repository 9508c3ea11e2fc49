"""
The tables of hardware events among the rule files: as plain values for those who count, and checked.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from engram_diagnose.collectors.parse.event_table import EventTable
from engram_diagnose.collectors.parse.events import TableProblem, checked_tables
from engram_diagnose.collectors.parse.pmu import TABLE_FACTS
from engram_diagnose.engine.language.deferred import deferred_kind
from engram_diagnose.engine.language.problem import Mark, Problem, Problems
from engram_diagnose.engine.language.source import Mapping as Node
from engram_diagnose.engine.language.source import Sequence, parse_document, plain


def event_documents(texts: Mapping[str, str]) -> dict[str, Any]:
    """
    The event tables among rule files (by file name), as mappings of text; one that is not YAML is left out.
    """
    return {name: plain(root) for name, root in _roots(texts, Problems()).items()}


def event_tables(texts: Mapping[str, str]) -> tuple[EventTable, ...]:
    """The event tables among rule files (by file name) that can be used."""
    return checked_tables(event_documents(texts), facts=TABLE_FACTS)[0]


def event_problems(texts: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the event tables among rule files, each at its place."""
    unread = Problems()
    roots = _roots(texts, unread)
    _, problems = checked_tables({name: plain(root) for name, root in roots.items()}, facts=TABLE_FACTS)
    return [*unread.errors, *(_placed(problem, roots) for problem in problems)]


def _roots(texts: Mapping[str, str], problems: Problems) -> dict[str, Node]:
    parsed = {
        name: parse_document(text, file=name, problems=problems)
        for name, text in sorted(texts.items())
        if deferred_kind(text) == "events"
    }
    return {name: root for name, root in parsed.items() if root is not None}


def _placed(problem: TableProblem, roots: Mapping[str, Node]) -> Problem:
    root = roots.get(problem.table)
    mark = _mark(root, problem.path) if root is not None else Mark(problem.table, 1, 1)
    where = " > ".join(problem.path)
    return Problem(mark, f"{where}: {problem.message}" if where else problem.message, "")


def _mark(root: Node, path: Iterable[str]) -> Mark:
    """Where the keys lead, or as far as they do."""
    node: object = root
    mark = root.mark
    for step in path:
        if isinstance(node, Node) and step in node.values:
            mark, node = node.key_mark(step), node.values[step]
        elif isinstance(node, Sequence) and step.isdigit() and int(step) < len(node.items):
            node = node.items[int(step)]
            mark = node.mark
        else:
            return mark
    return mark
