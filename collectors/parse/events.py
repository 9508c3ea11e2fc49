"""
Reading tables of hardware events: plain mappings, checked as a whole, into values.

The tables stand in `rules/events/`, one a CPU family. Text is expected throughout, as in a document whose scalars were
left as they are written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from engram_diagnose.collectors.parse.event_table import (
    CORE,
    GENERIC,
    Absent,
    CpuPattern,
    Event,
    EventFact,
    EventTable,
    Group,
    Span,
)
from engram_diagnose.collectors.parse.formula import Formula, FormulaError, parse_formula

SCHEMA: Final = "engram-diagnose/events/v1"
VARIABLES: Final = frozenset({"seconds", "smt", "width"})
"""
What a formula may read besides counts: how long the group was counted, 1 where two threads share a core (else 0), and
the slots that a cycle has, as the kernel states them.
"""

_KEYS: Final = ("schema", "table", "title", "source", "status", "cpus", "list_as", "counters", "fixed", "events",
                "groups", "facts", "absent", "inapplicable")  # fmt: skip
_NEEDED: Final = ("schema", "table", "title", "source", "status", "cpus", "counters", "groups", "facts")
_STATUSES: Final = ("stable", "experimental")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TABLE: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
_EVENT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,80}")
_CODE: Final = re.compile(r"[a-z_0-9]{1,20}=0x[0-9a-f]{1,16}(?:,[a-z_0-9]{1,20}=0x[0-9a-f]{1,16}){0,8}")
_NUMBER: Final = re.compile(r"0x[0-9a-f]{1,8}|[0-9]{1,8}")

Path = tuple[str, ...]
"""Keys that lead to a place in a table."""


@dataclass(frozen=True, slots=True)
class TableProblem:
    """What is wrong at one place of one table; `table` is what the documents call it."""

    table: str
    path: Path
    message: str

    def __str__(self) -> str:
        return f"{' > '.join((self.table, *self.path))}: {self.message}"


class EventTableError(ValueError):
    """Tables that cannot be used; `problems` are all that were found, and the message names each place."""

    def __init__(self, problems: Sequence[TableProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def read_tables(documents: Mapping[str, object], *, facts: Iterable[str] = ()) -> tuple[EventTable, ...]:
    """
    The tables in `documents` (by file name), in the order of their names.

    Each of them has to say each of `facts`. Raises `EventTableError` with every problem of every table.
    """
    found, problems = checked_tables(documents, facts=facts)
    if problems:
        raise EventTableError(problems)
    return found


def checked_tables(
    documents: Mapping[str, object], *, facts: Iterable[str] = ()
) -> tuple[tuple[EventTable, ...], tuple[TableProblem, ...]]:
    """The tables that can be used, and everything that is wrong with all of them."""
    wanted = frozenset(facts)
    readings = [_Reading(name, documents[name], wanted) for name in sorted(documents)]
    tables = [reading.table() for reading in readings]
    problems = [problem for reading in readings for problem in reading.problems]
    usable = sorted((table for table in tables if table is not None), key=lambda table: table.name)
    problems += _same_names(usable)
    return tuple(usable), tuple(problems)


def _same_names(tables: Sequence[EventTable]) -> Iterator[TableProblem]:
    for before, table in pairwise(tables):
        if before.name == table.name:
            yield TableProblem(table.name, ("table",), "two tables have this name; rename one")


class _Reading:
    """One document being read; what is wrong is kept, and reading goes on."""

    def __init__(self, name: str, document: object, facts: frozenset[str]) -> None:
        self._name = name
        self._document = document
        self._wanted = facts
        self.problems: list[TableProblem] = []

    def table(self) -> EventTable | None:
        root = self._mapping(self._document, ())
        if root is None:
            return None
        self._keys(root)
        events = self._events(root)
        groups = self._groups(root, events)
        table = EventTable(
            name=self._text(root, "table", pattern=_TABLE),
            title=self._text(root, "title"),
            source=self._text(root, "source"),
            experimental=self._choice(root, "status", _STATUSES) == "experimental",
            cpus=self._cpus(root),
            list_as=self._text(root, "list_as", optional=True),
            counters=self._whole(root.get("counters", ""), ("counters",)),
            fixed=frozenset(self._texts(root, "fixed", ())),
            groups=groups,
            facts=self._facts(root, groups),
            absent=self._absent(root),
            inapplicable=self._inapplicable(root),
        )
        self._check(table)
        return None if self.problems else table

    # What belongs together

    def _check(self, table: EventTable) -> None:
        said = [*table.facts, *table.absent, *table.inapplicable]
        for name in sorted(self._wanted - set(said)):
            self._wrong(("facts",), f"says nothing of {name}: compute it, or put it under `absent` with the reason")
        for name in sorted({name for name in said if said.count(name) > 1}):
            self._wrong(("facts",), f"says {name} twice")
        if self._wanted:
            for name in sorted(set(said) - self._wanted):
                self._wrong(("facts", name), "no fact of the counters has this name")
        for name in sorted(
            table.fixed - {event.name for group in table.groups.values() for event in group.events.values()}
        ):
            self._wrong(("fixed",), f"no group counts {name}")
        for group in table.groups.values():
            taken = sum(event.name not in table.fixed for event in group.events.values())
            if not group.of_host and taken > table.counters:
                self._wrong(("groups", group.name), f"takes {taken} counters, and there are {table.counters}")

    def _keys(self, root: Mapping[str, object]) -> None:
        for key in root:
            if key not in _KEYS:
                self._wrong((key,), f"no table has this key; known: {', '.join(_KEYS)}")
        for key in _NEEDED:
            if key not in root:
                self._wrong((), f"lacks {key!r}")
        if "schema" in root and root["schema"] != SCHEMA:
            self._wrong(("schema",), f"must be {SCHEMA}")

    # Parts

    def _cpus(self, root: Mapping[str, object]) -> tuple[CpuPattern, ...]:
        found = []
        for index, node in enumerate(self._items(root, "cpus", ("cpus",))):
            path = ("cpus", str(index))
            entry = self._mapping(node, path)
            if entry is not None:
                found.append(self._cpu(entry, path))
        if not found:
            self._wrong(("cpus",), "names no CPU")
        return tuple(found)

    def _cpu(self, entry: Mapping[str, object], path: Path) -> CpuPattern:
        known = ("arch", "vendor", "family", "models", "steppings", "implementer", "parts")
        for key in entry:
            if key not in known:
                self._wrong((*path, key), f"a CPU has no such key; known: {', '.join(known)}")
        if not {"arch", "vendor", "implementer"} & set(entry):
            self._wrong(path, "needs a vendor, an implementer or an arch")
        return CpuPattern(
            arch=self._text(entry, "arch", path, optional=True),
            vendor=self._text(entry, "vendor", path, optional=True),
            family=self._optional_whole(entry, "family", path),
            models=self._spans(entry, "models", path),
            steppings=self._spans(entry, "steppings", path),
            implementer=self._optional_whole(entry, "implementer", path),
            parts=self._spans(entry, "parts", path),
        )

    def _spans(self, entry: Mapping[str, object], key: str, path: Path) -> tuple[Span, ...]:
        found = []
        for text in self._texts(entry, key, path):
            low, _, high = text.partition("-")
            span = self._whole(low, (*path, key)), self._whole(high or low, (*path, key))
            if span[0] > span[1]:
                self._wrong((*path, key), f"{text} ends before it begins")
            found.append(span)
        return tuple(found)

    def _events(self, root: Mapping[str, object]) -> dict[str, Event]:
        found = {}
        for name, code in self._members(root, "events"):
            path = ("events", name)
            if not _EVENT.fullmatch(name):
                self._wrong(path, "is not the name of an event")
            elif not isinstance(code, str) or (code and not _CODE.fullmatch(code)):
                self._wrong(path, 'is not a code such as "event=0xd1,umask=0x08"')
            else:
                found[name] = Event(name, code)
        return found

    def _groups(self, root: Mapping[str, object], events: Mapping[str, Event]) -> dict[str, Group]:
        found = {}
        for name, node in self._members(root, "groups"):
            path = ("groups", name)
            entry = self._mapping(node, path)
            if not _NAME.fullmatch(name):
                self._wrong(path, "is not a name of small letters, digits and _")
            elif entry is not None:
                found[name] = self._group(name, entry, path, events)
        for unused in sorted(
            events.keys() - {event.name for group in found.values() for event in group.events.values()}
        ):
            self._wrong(("events", unused), "no group counts it")
        return found

    def _group(self, name: str, entry: Mapping[str, object], path: Path, events: Mapping[str, Event]) -> Group:
        for key in entry:
            if key not in ("on", "count"):
                self._wrong((*path, key), "a group has no such key; known: on, count")
        on = self._text(entry, "on", path, optional=True, pattern=_NAME) or CORE
        counted = {}
        for alias, event in self._members(entry, "count", path):
            place = (*path, "count", alias)
            if not _NAME.fullmatch(alias):
                self._wrong(place, "is not a name of small letters, digits and _")
            elif on == GENERIC and isinstance(event, str) and _EVENT.fullmatch(event):
                counted[alias] = Event(event)
            elif not isinstance(event, str) or event not in events:
                self._wrong(place, f"counts {event!r}, which is not under `events`")
            else:
                counted[alias] = events[event]
        if not counted:
            self._wrong(path, "counts nothing")
        return Group(name, on, counted)

    def _facts(self, root: Mapping[str, object], groups: Mapping[str, Group]) -> dict[str, EventFact]:
        counts = frozenset(f"{group.name}.{alias}" for group in groups.values() for alias in group.events)
        found = {}
        for name, node in self._members(root, "facts"):
            path = ("facts", name)
            entry = self._mapping(node, path)
            if entry is None:
                continue
            for key in entry:
                if key not in ("is", "proxy_of", "note"):
                    self._wrong((*path, key), "a fact has no such key; known: is, proxy_of, note")
            formula = self._formula(self._text(entry, "is", path), (*path, "is"), counts)
            if formula is not None:
                found[name] = EventFact(name, formula, self._text(entry, "proxy_of", path, optional=True),
                                        self._text(entry, "note", path, optional=True))  # fmt: skip
        return found

    def _formula(self, text: str, path: Path, counts: frozenset[str]) -> Formula | None:
        if not text:
            return None
        try:
            formula = parse_formula(text)
        except FormulaError as error:
            self._wrong(path, str(error))
            return None
        for name in sorted(formula.names - counts - VARIABLES):
            self._wrong(path, f"reads {name}, which no group counts")
        for problem in formula.mixed_ratios(VARIABLES):
            self._wrong(path, problem)
        if not formula.names & counts:
            self._wrong(path, "reads no count")
        return formula

    def _absent(self, root: Mapping[str, object]) -> dict[str, Absent]:
        found = {}
        for name, node in self._members(root, "absent"):
            path = ("absent", name)
            entry = self._mapping(node, path)
            if entry is None:
                continue
            for key in entry:
                if key not in ("because", "get_by"):
                    self._wrong((*path, key), "no such key; known: because, get_by")
            found[name] = Absent(self._text(entry, "because", path), self._text(entry, "get_by", path))
        return found

    def _inapplicable(self, root: Mapping[str, object]) -> dict[str, str]:
        found = {}
        for name, node in self._members(root, "inapplicable"):
            if isinstance(node, str) and node.strip():
                found[name] = node.strip()
            else:
                self._wrong(("inapplicable", name), "is the reason, as text")
        return found

    # Kinds of values

    def _wrong(self, path: Path, message: str) -> None:
        self.problems.append(TableProblem(self._name, path, message))

    def _mapping(self, node: object, path: Path) -> Mapping[str, object] | None:
        if isinstance(node, Mapping) and all(isinstance(key, str) for key in node):
            return node
        self._wrong(path, "must be a mapping")
        return None

    def _members(self, root: Mapping[str, object], key: str, path: Path = ()) -> Iterator[tuple[str, object]]:
        if key in root:
            node = self._mapping(root[key], (*path, key))
            yield from node.items() if node is not None else ()

    def _items(self, root: Mapping[str, object], key: str, path: Path) -> tuple[object, ...]:
        node = root.get(key, [])
        if isinstance(node, list | tuple):
            return tuple(node)
        self._wrong(path, "must be a list")
        return ()

    def _texts(self, root: Mapping[str, object], key: str, path: Path) -> tuple[str, ...]:
        found = []
        for item in self._items(root, key, (*path, key)):
            if isinstance(item, str):
                found.append(item)
            else:
                self._wrong((*path, key), "is a list of texts")
        return tuple(found)

    def _text(
        self,
        root: Mapping[str, object],
        key: str,
        path: Path = (),
        *,
        optional: bool = False,
        pattern: re.Pattern[str] | None = None,
    ) -> str:
        node = root.get(key, "")
        if not isinstance(node, str):
            self._wrong((*path, key), "must be a text")
            return ""
        if not node.strip():
            if key in root or (not optional and path):
                self._wrong((*path, key) if key in root else path, "is empty" if key in root else f"lacks {key!r}")
            return ""
        if pattern is not None and not pattern.fullmatch(node):
            self._wrong((*path, key), f"{node[:40]!r} is not a name")
            return ""
        return node.strip()

    def _choice(self, root: Mapping[str, object], key: str, choices: Sequence[str]) -> str:
        text = self._text(root, key)
        if text and text not in choices:
            self._wrong((key,), f"is one of {', '.join(choices)}")
        return text

    def _whole(self, node: object, path: Path) -> int:
        if isinstance(node, str) and _NUMBER.fullmatch(node):
            return int(node, 0) if node.startswith("0x") else int(node)
        self._wrong(path, f"{str(node)[:40]!r} is not a whole number such as 6 or 0x8f")
        return 0

    def _optional_whole(self, entry: Mapping[str, object], key: str, path: Path) -> int:
        return self._whole(entry[key], (*path, key)) if key in entry else -1
