"""
YAML text into nodes that remember where they stand.

Built from the events of PyYAML's C parser rather than its constructor, which reads `1e-5` as text,
`1:30` as 90 and `on` as true, keeps the last of two equal keys without a word, and expands aliases. Here every
scalar stays text, and duplicate keys, aliases, tags and depth beyond `MAX_DEPTH` are errors at their place. Where
PyYAML was built without libyaml its Python parser gives the same events, slower.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from engram_diagnose.engine.language.problem import Mark, Problems, TooManyProblems

MAX_DEPTH: Final = 32
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_NODES: Final = 500_000
"""Twice what a thousand rules have, and few enough to be read in a second."""

_Parser: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scalar:
    """A text; `quoted` tells that it can only be meant as text, `single_line` that columns inside it can be counted."""

    text: str
    file: str
    line: int
    column: int
    quoted: bool = False
    single_line: bool = True

    @property
    def mark(self) -> Mark:
        """Where it starts, behind its opening quote."""
        return Mark(self.file, self.line, self.column + (1 if self.quoted and self.single_line else 0))


@dataclass(slots=True)
class Sequence:
    """Items in their order."""

    file: str
    line: int
    column: int
    items: "list[Node]" = field(default_factory=list)

    @property
    def mark(self) -> Mark:
        """Where it starts."""
        return Mark(self.file, self.line, self.column)


@dataclass(slots=True)
class Mapping:
    """Keys in their order; each with its own place."""

    file: str
    line: int
    column: int
    values: "dict[str, Node]" = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)

    @property
    def mark(self) -> Mark:
        """Where it starts."""
        return Mark(self.file, self.line, self.column)

    def key_mark(self, key: str) -> Mark:
        """Where a key stands; the mapping's own place when it is not there."""
        scalar = self.keys.get(key)
        return scalar.mark if scalar else self.mark


Node = Scalar | Sequence | Mapping


def decode(data: bytes, *, file: str, problems: Problems) -> str | None:
    """Bytes of a rule file as text; None, and a problem, when they are too many or not UTF-8."""
    if len(data) > MAX_BYTES:
        problems.error(
            Mark(file, 1, 1),
            f"{len(data):,} bytes is more than a rule file may have ({MAX_BYTES:,})",
            hint="split it into several files",
        )
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        problems.error(
            Mark(file, line, column),
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            hint="it looks like UTF-16; save the file as UTF-8" if data[:2] in _UTF16 else "save the file as UTF-8",
        )
        return None


def parse_document(text: str, *, file: str, problems: Problems) -> Mapping | None:
    """
    The one YAML document in `text`, which must be a mapping; None when it cannot be used at all.

    Every problem met on the way is added to `problems`.
    """
    builder = _Builder(file, problems)
    try:
        builder.consume(text)
    except (_Stop, TooManyProblems):
        return None
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(file, place.line + 1, place.column + 1) if place else Mark(file, 1, 1)
        problems.error(mark, f"not YAML: {error.problem or error.context}", hint=_yaml_hint(error))
        return None
    except (yaml.YAMLError, ValueError) as error:
        problems.error(*_unreadable(text, file, error))
        return None
    root = builder.root
    if isinstance(root, Mapping):
        return root
    mark = root.mark if root is not None else Mark(file, 1, 1)
    hint = "begin with `schema: engram-diagnose/rules/v1` and `pack:`"
    problems.error(mark, f"the file must hold a mapping with `schema:`, not {describe(root)}", hint=hint)
    return None


def describe(node: Node | None) -> str:
    """What a node is, in words."""
    match node:
        case None:
            return "nothing"
        case Scalar():
            return f"the text {node.text[:40]!r}"
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"


def plain(node: Node) -> Any:
    """The node as plain dicts, lists and strings, for a JSON Schema validator."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, value in node.values.items()}


class _Stop(Exception):  # noqa: N818 -- the problem is recorded; this only ends the reading
    """Reading cannot go on; the problem is recorded."""


class _Builder:
    """Turns parser events into nodes, with a stack of its own so that no depth can exhaust Python's."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.root: Node | None = None
        self._parent: Sequence | Mapping | None = None
        self._key: Scalar | None = None
        self._outer: list[Sequence | Mapping | None] = []
        self._room = MAX_NODES

    def consume(self, text: str) -> None:
        loader = _Parser(text)
        get, scalar, handle = loader.get_event, self._scalar, self._handle
        try:
            while (event := get()) is not None:
                if type(event) is yaml.ScalarEvent:
                    scalar(event)
                else:
                    handle(event)
        finally:
            loader.dispose()

    def _handle(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.MappingStartEvent:
            self._open(Mapping, event)
        elif kind is yaml.SequenceStartEvent:
            self._open(Sequence, event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._parent = self._outer.pop()
            self._key = None
        elif kind is yaml.AliasEvent:
            self._fail(event, f"the alias *{event.anchor} is not allowed", "write the value out")
        elif kind is yaml.DocumentStartEvent and self.root is not None:
            self._fail(event, "a second document", "keep one document in a file")

    def _scalar(self, event: Any) -> None:
        if event.tag is not None or event.anchor is not None:
            self._decorated(event)
        start, end, text = event.start_mark, event.end_mark, event.value
        line, column = start.line, start.column
        quoted = event.style in _QUOTES
        single = end.line == line and (not quoted or end.column - column == len(text) + 2)
        scalar = Scalar(text, self.file, line + 1, column + 1, quoted, single)
        parent = self._parent
        if not isinstance(parent, Mapping) or self._key is not None:
            self._attach(scalar, event)
            return
        if text in parent.values:
            self._duplicate(scalar, parent)
        self._key = scalar

    def _open(self, kind: "type[Sequence | Mapping]", event: Any) -> None:
        if event.tag is not None or event.anchor is not None:
            self._decorated(event)
        mark = event.start_mark
        node = kind(self.file, mark.line + 1, mark.column + 1)
        if len(self._outer) >= MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels", "flatten the rule")
        if isinstance(self._parent, Mapping) and self._key is None:
            self._fail(event, f"a key must be a word, not {describe(node)}", "put quotes round a text that begins so")
        self._attach(node, event)
        self._outer.append(self._parent)
        self._parent = node

    def _attach(self, node: Node, event: Any) -> None:
        self._room -= 1
        if self._room < 0:
            self._fail(event, f"more than {MAX_NODES:,} values", "split it into several files")
        parent = self._parent
        if parent is None:
            self.root = node
        elif isinstance(parent, Sequence):
            parent.items.append(node)
        else:
            key, self._key = self._key, None
            if key is not None and key.text not in parent.values:
                parent.values[key.text] = node
                parent.keys[key.text] = key

    def _duplicate(self, node: Scalar, parent: Mapping) -> None:
        first = parent.keys[node.text].mark
        hint = f"it already stands on line {first.line}; keep one"
        self.problems.error(node.mark, f"duplicate key {node.text!r}", hint=hint, length=len(node.text))

    def _decorated(self, event: Any) -> None:
        if event.anchor is not None:
            self._fail(event, f"the anchor &{event.anchor} is not allowed", "write the value out where it is used")
        if event.tag != "!":
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._fail(event, f"the tag {tag} is not allowed", "plain values only")

    def _fail(self, event: Any, message: str, hint: str) -> None:
        mark = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        self.problems.error(mark, message, hint=hint)
        raise _Stop


_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_QUOTES: Final = frozenset("'\"|>")


def _yaml_hint(error: yaml.MarkedYAMLError) -> str:
    text = f"{error.problem} {error.context}"
    if "tab" in text or "\\t" in text:
        return "indent with spaces"
    if "mapping values are not allowed" in text:
        return "put quotes round a text that contains ': '"
    if "flow" in text:
        return "a flow map splits at commas and ends at }: use block style, or quotes"
    return "check quotes and indentation on this line and the one above"


def _unreadable(text: str, file: str, error: Exception) -> tuple[Mark, str]:
    """A character YAML refuses, found by hand: the C parser does not say where it stands."""
    for number, line in enumerate(text.splitlines(), 1):
        for column, character in enumerate(line, 1):
            if not (character == "\t" or character.isprintable() or character in "\u00a0\ufeff\u200b"):
                return Mark(file, number, column), f"the control character {character!r} is not allowed"
    return Mark(file, 1, 1), f"not YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
